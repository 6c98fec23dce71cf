/**
 * Where attempts wait for their receipts and become settlements. A receipt is checked against what the
 * gateway itself saw pass: the request's bytes, the ids, the text, the price on offer when it was sent.
 *
 *   begin() ──► END: expect() ──► receipt is there or comes, and agrees ──► settlement (witness: node) ──► committed ──► acknowledged
 *                           └──► none in time, or it disagrees ──► settlement (witness: gateway), of what was delivered
 *   node lost ──► witness()
 *   receipt of an attempt from before a restart ──► the attempt's id names the key ──► settlement
 */
import { priceTokens, type NanoUsd, type TokenPrice } from '../../core/base/money.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import type { Receipt, ReceiptBatch } from '../../core/protocol/receipt.ts'
import { signatureVerifier, type SignatureVerifier } from '../../io/keys/identity.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import type { Settlement, SettleOutcome, StoredReceipt } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { AttemptIds } from './attempt-id.ts'
import type { KeyEntry, Keyring } from './keyring.ts'
import type { Meter, Reservation } from './meter.ts'
import {
  checkBatch,
  disagreement,
  lateProblem,
  lateUsage,
  parseReceipt,
  usageOf,
} from './receipt-check.ts'

/** One attempt that is over, as the gateway saw it. */
export type DoneAttempt = {
  readonly attempt: string
  readonly request: string
  readonly api: Api
  readonly key: KeyEntry
  readonly reservation: Reservation
  readonly node: string
  readonly model: string
  readonly digest: string
  readonly price: TokenPrice
  readonly startedAt: Millis
  readonly finishedAt: Millis
  readonly inputTokens: number
  readonly billedInputTokens: number
  readonly outputTokens: number
  /** Hex hashes of what the gateway saw: thousands wait for a receipt, and must not keep their answers alive. */
  readonly requestHash: string
  readonly outputHash: string
  readonly textHash: string
}

export type ReceiptDesk = {
  /**
   * It runs now. Whether and what it is paid is told later, by exactly one of `expect`, `witness` and `forgive`; a receipt
   * that comes before waits. It may even overtake its END, which waits at the node for credit and for room on the line.
   */
  begin(attempt: string, request: string): void
  /** The node said END: its receipt must follow. */
  expect(done: DoneAttempt): void
  /** The node was lost: what it delivered is paid, on its own receipt if that came meanwhile and agrees, else on the gateway's word. */
  witness(done: DoneAttempt): void
  /** Nothing of this attempt reached the tenant: its receipt, whenever it comes, is acknowledged and not paid. */
  forgive(attempt: string): void
  /** A batch from a node, checked and settled. */
  take(link: NodeLink, batch: ReceiptBatch): void
  /** The meter's report of what is durable: nodes may forget those receipts. */
  settled(settlements: readonly Settlement[], outcomes: readonly SettleOutcome[]): void
  /** Resolves when no receipt of this request, or with this id, is on its way any more; at most `timeoutMs`. */
  quiet(id: string, timeoutMs: number): Promise<void>
  /** Attempts whose receipt has not arrived. */
  readonly expected: number
  /** Settles what still waits on the gateway's own word: for a shutdown. */
  close(): void
}

/** A node signs within 100 ms; a restart and a relink fit in this too. Then the gateway's own count is paid. */
const RECEIPT_TIMEOUT_MS = 30_000
const SWEEP_MS = 1_000
/** Attempts whose receipts will not be paid, 100 bytes each; the oldest are forgotten first. */
const MAX_FORGIVEN = 100_000

type HeldReceipt = {
  readonly receipt: Receipt
  readonly stored: (receipt: Receipt, account: string) => StoredReceipt
}

/** An attempt from its begin until it is forgiven or its payment is durable. */
type OpenAttempt = {
  readonly request: string
  stage: 'running' | 'expected' | 'settling'
  /** While its receipt is expected. */
  done: DoneAttempt | null
  /** Came while it ran. */
  early: HeldReceipt | null
  /** It is paid on the gateway's word against this receipt: acknowledged when the payment is durable. */
  disputed: string | null
}

type Parts = {
  gateway: string
  meter: Pick<Meter, 'settleLate'>
  keyring: Pick<Keyring, 'byTag'>
  attemptIds: AttemptIds
  linkOf(node: string): NodeLink | undefined
  now: () => Millis
  logger: Logger
  /** A receipt of this node was not what the gateway saw: what differed; null: nobody can tell any more. */
  disputed(node: string, reason: string | null): void
}

export function createReceiptDesk(parts: Parts): ReceiptDesk {
  const { gateway, now, logger } = parts
  const open = new Map<string, OpenAttempt>()
  let expected = 0
  const forgiven = new Set<string>()
  const verifiers = new WeakMap<NodeLink, SignatureVerifier>()
  const waiters = new Set<{ readonly request: string; readonly resolve: () => void }>()
  const sweep = setInterval(giveUpOnLate, SWEEP_MS)
  sweep.unref()

  function payOnOwnWord(done: DoneAttempt): void {
    const { billedInputTokens: inputTokens, outputTokens, price } = done
    if (isWorthNothing(done)) {
      done.reservation.close()
      neverPay(done.attempt)
      leave(done.attempt)
      return
    }
    pay(done, priceTokens({ inputTokens, outputTokens, price, carry: 0n }).nanoUsd, null)
  }

  function giveUpOnLate(): void {
    const before = now() - RECEIPT_TIMEOUT_MS
    for (const entry of open.values()) {
      const { done } = entry
      if (!done || done.finishedAt > before) continue
      logger.warn('no receipt came', { attempt: done.attempt, node: done.node })
      decide(entry)
      payOnOwnWord(done)
    }
  }

  function enter(attempt: string, request: string): OpenAttempt {
    const known = open.get(attempt)
    if (known) return known
    const made: OpenAttempt = {
      request,
      stage: 'running',
      done: null,
      early: null,
      disputed: null,
    }
    open.set(attempt, made)
    return made
  }

  function expect(entry: OpenAttempt, done: DoneAttempt): void {
    entry.stage = 'expected'
    entry.done = done
    expected += 1
  }

  /** It is being paid, or never will be: nothing is expected any more. Returns the receipt that came early. */
  function decide(entry: OpenAttempt): HeldReceipt | null {
    const { early } = entry
    if (entry.done) expected -= 1
    entry.stage = 'settling'
    // A table of entries that are gone may live long (docs/decisions.md): they hold nothing.
    entry.done = null
    entry.early = null
    return early
  }

  function leave(attempt: string): void {
    const entry = open.get(attempt)
    if (!entry) return
    decide(entry)
    open.delete(attempt)
    if (waiters.size === 0 || isOnItsWay(entry.request)) return
    for (const waiter of waiters) if (waiter.request === entry.request) waiter.resolve()
  }

  function isOnItsWay(request: string): boolean {
    for (const entry of open.values())
      if (entry.request === request && entry.stage !== 'running') return true
    return false
  }

  function neverPay(attempt: string): void {
    forgiven.add(attempt)
    if (forgiven.size <= MAX_FORGIVEN) return
    for (const oldest of forgiven) return void forgiven.delete(oldest)
  }

  function takeOne(
    link: NodeLink,
    text: string,
    stored: (receipt: Receipt, account: string) => StoredReceipt,
  ): void {
    const receipt = parseReceipt(text)
    if (!receipt || receipt.node !== link.node || receipt.gateway !== gateway) {
      logger.warn('receipt not understood', { node: link.node })
      return
    }
    if (forgiven.has(receipt.attempt)) {
      link.acknowledge([receipt.id])
      return
    }
    const entry = open.get(receipt.attempt)
    if (entry?.stage === 'running') {
      entry.early = { receipt, stored }
      return
    }
    if (!entry?.done) {
      takeLate(link, receipt, (account) => stored(receipt, account))
      return
    }
    const { done } = entry
    decide(entry)
    payOnReceipt(done, entry, { receipt, stored })
  }

  function payOnReceipt(
    done: DoneAttempt,
    entry: OpenAttempt,
    { receipt, stored }: HeldReceipt,
    ended = true,
  ): void {
    const dispute = disagreement(receipt, done)
    if (dispute === null) {
      pay(done, BigInt(receipt.nanoUsd), stored(receipt, done.key.account.id))
      return
    }
    // A node whose link broke honestly counts what never came here.
    parts.disputed(done.node, ended ? `a receipt disagrees: ${dispute}` : null)
    logger.warn('receipt disputed', { attempt: receipt.attempt, node: done.node, dispute })
    if (isWorthNothing(done)) parts.linkOf(done.node)?.acknowledge([receipt.id])
    else entry.disputed = receipt.id
    payOnOwnWord(done)
  }

  /** A receipt nobody waits for: from before a restart, or paid already. The ledger makes it count once. */
  function takeLate(
    link: NodeLink,
    receipt: Receipt,
    stored: (account: string) => StoredReceipt,
  ): void {
    const origin = parts.attemptIds.origin(receipt.attempt)
    const key = origin ? parts.keyring.byTag(origin.keyTag) : null
    const problem =
      !origin || !key ? 'no such attempt' : lateProblem(receipt, origin.ceilingNanoUsd)
    if (!key || problem !== null) {
      parts.disputed(link.node, null)
      logger.warn('late receipt refused', { attempt: receipt.attempt, node: link.node, problem })
      link.acknowledge([receipt.id])
      return
    }
    const usage = lateUsage(receipt, key)
    enter(usage.attempt, usage.request).stage = 'settling'
    parts.meter.settleLate({ usage, receipt: stored(key.account.id) })
  }

  return {
    begin(attempt, request) {
      enter(attempt, request)
    },
    expect(done) {
      const entry = enter(done.attempt, done.request)
      const { early } = entry
      if (!early) {
        expect(entry, done)
        return
      }
      decide(entry)
      payOnReceipt(done, entry, early)
    },
    witness(done) {
      const entry = enter(done.attempt, done.request)
      const early = decide(entry)
      if (early) payOnReceipt(done, entry, early, false)
      else payOnOwnWord(done)
    },
    forgive(attempt) {
      const early = open.get(attempt)?.early
      if (early) parts.linkOf(early.receipt.node)?.acknowledge([early.receipt.id])
      leave(attempt)
      neverPay(attempt)
    },
    take(link, batch) {
      const checked = checkBatch(link, batch, verifierOf(verifiers, link))
      if (!checked) {
        parts.disputed(link.node, 'a receipt batch with a wrong signature')
        link.close('the signature of a receipt batch does not fit its receipts')
        return
      }
      batch.receipts.forEach((text, leafIndex) => {
        const stored = (receipt: Receipt, account: string): StoredReceipt => ({
          id: receipt.id,
          attempt: receipt.attempt,
          account,
          text,
          batch: checked,
          leafIndex,
        })
        takeOne(link, text, stored)
      })
    },
    settled(settlements, outcomes) {
      settlements.forEach(({ usage, receipt }, i) => {
        if (outcomes[i] === 'conflict')
          logger.error('attempt settled twice with different contents', { attempt: usage.attempt })
        const durable = receipt?.id ?? open.get(usage.attempt)?.disputed
        if (typeof durable === 'string') parts.linkOf(usage.node)?.acknowledge([durable])
        leave(usage.attempt)
      })
    },
    quiet(id, timeoutMs) {
      const request = open.get(attemptOfReceipt(id))?.request ?? id
      if (!isOnItsWay(request)) return Promise.resolve()
      return new Promise((resolve) => {
        const waiter = { request, resolve: finish }
        const timer = setTimeout(finish, timeoutMs)
        waiters.add(waiter)
        function finish(): void {
          clearTimeout(timer)
          waiters.delete(waiter)
          resolve()
        }
      })
    },
    get expected() {
      return expected
    },
    close() {
      clearInterval(sweep)
      for (const entry of open.values()) {
        const { done } = entry
        if (!done) continue
        decide(entry)
        payOnOwnWord(done)
      }
    },
  }
}

function pay(done: DoneAttempt, nanoUsd: NanoUsd, receipt: StoredReceipt | null): void {
  const usage = usageOf(done, nanoUsd, receipt ? 'node' : 'gateway')
  done.reservation.settle({ usage, receipt })
  done.reservation.close()
}

const attemptOfReceipt = (id: string): string => `att_${id.slice(id.indexOf('_') + 1)}`

const isWorthNothing = ({ billedInputTokens, outputTokens }: DoneAttempt): boolean =>
  billedInputTokens === 0 && outputTokens === 0

function verifierOf(
  known: WeakMap<NodeLink, SignatureVerifier>,
  link: NodeLink,
): SignatureVerifier {
  const made = known.get(link) ?? signatureVerifier(link.nodeKey)
  known.set(link, made)
  return made
}
