/**
 * Where attempts wait for their receipts and become settlements. A receipt is checked against what the
 * gateway itself saw pass: the request's bytes, the ids, the text, the price on offer when it was sent.
 *
 *   end seen ──► expect() ──► receipt arrives, agrees ──► settlement (witness: node)  ──► committed ──► acknowledged
 *                       └──► none in time, or it disagrees ──► settlement (witness: gateway), of what was delivered
 *   node lost ──► witness()
 *   receipt of an attempt from before a restart ──► the attempt's id names the key ──► settlement
 */
import { priceTokens, type NanoUsd, type TokenPrice } from '../../core/base/money.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  checkReceiptPrice,
  receiptIdOf,
  receiptSchema,
  RECEIPT_DOMAIN,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { sha256, signatureVerifier, type SignatureVerifier } from '../../io/keys/identity.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import type {
  ReceiptBatchRecord,
  Settlement,
  SettleOutcome,
  StoredReceipt,
  Usage,
} from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { AttemptIds } from './attempt-id.ts'
import type { KeyEntry, Keyring } from './keyring.ts'
import type { Meter, Reservation } from './meter.ts'

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
  /** The node said END: its receipt must follow. */
  expect(done: DoneAttempt): void
  /** The node is gone; whether and what it is paid is decided when the answer is over. Its receipt waits until then. */
  hold(attempt: string): void
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
/** Attempts whose receipts will not be paid; the oldest are forgotten first. */
const MAX_FORGIVEN = 10_000

type HeldReceipt = {
  readonly receipt: Receipt
  readonly stored: (receipt: Receipt, account: string) => StoredReceipt
}

type Parts = {
  gateway: string
  meter: Pick<Meter, 'settleLate'>
  keyring: Pick<Keyring, 'byTag'>
  attemptIds: AttemptIds
  linkOf(node: string): NodeLink | undefined
  now: () => Millis
  logger: Logger
  disputed(): void
}

export function createReceiptDesk(parts: Parts): ReceiptDesk {
  const { gateway, now, logger } = parts
  const waiting = new Map<string, DoneAttempt>()
  /** Lost attempts whose answer goes on: null until their receipt comes. */
  const held = new Map<string, HeldReceipt | null>()
  const forgiven = new Set<string>()
  const verifiers = new WeakMap<NodeLink, SignatureVerifier>()
  /** Requests and receipts between END and durable commit, each with those who wait for it. */
  const unsettled = new Map<string, { attempts: number; waiters: (() => void)[] }>()
  const sweep = setInterval(giveUpOnLate, SWEEP_MS)
  sweep.unref()

  function pay(done: DoneAttempt, nanoUsd: NanoUsd, receipt: StoredReceipt | null): void {
    const usage = usageOf(done, nanoUsd, receipt ? 'node' : 'gateway')
    done.reservation.settle({ usage, receipt })
    done.reservation.close()
  }

  function payOnOwnWord(done: DoneAttempt): void {
    const { billedInputTokens: inputTokens, outputTokens, price } = done
    if (outputTokens === 0 && inputTokens === 0) {
      done.reservation.close()
      left(done.request)
      return
    }
    pay(done, priceTokens({ inputTokens, outputTokens, price, carry: 0n }).nanoUsd, null)
  }

  function giveUpOnLate(): void {
    const before = now() - RECEIPT_TIMEOUT_MS
    for (const [id, done] of waiting) {
      if (done.finishedAt > before) return // in order of arrival: the rest is younger
      waiting.delete(id)
      logger.warn('no receipt came', { attempt: done.attempt, node: done.node })
      payOnOwnWord(done)
    }
  }

  function entered(request: string): void {
    const known = unsettled.get(request)
    if (known) known.attempts += 1
    else unsettled.set(request, { attempts: 1, waiters: [] })
  }

  function left(request: string): void {
    const known = unsettled.get(request)
    if (!known) return
    known.attempts -= 1
    if (known.attempts > 0) return
    unsettled.delete(request)
    for (const waiter of known.waiters) waiter()
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
    if (held.has(receipt.attempt)) {
      held.set(receipt.attempt, { receipt, stored })
      return
    }
    const done = waiting.get(receipt.attempt)
    if (!done) {
      takeLate(link, receipt, (account) => stored(receipt, account))
      return
    }
    waiting.delete(receipt.attempt)
    payOnReceipt(done, { receipt, stored })
  }

  function payOnReceipt(done: DoneAttempt, { receipt, stored }: HeldReceipt): void {
    const dispute = disagreement(receipt, done)
    if (dispute === null) {
      pay(done, BigInt(receipt.nanoUsd), stored(receipt, done.key.account.id))
      return
    }
    parts.disputed()
    logger.warn('receipt disputed', { attempt: receipt.attempt, node: done.node, dispute })
    payOnOwnWord(done)
    parts.linkOf(done.node)?.acknowledge([receipt.id])
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
      parts.disputed()
      logger.warn('late receipt refused', { attempt: receipt.attempt, node: link.node, problem })
      link.acknowledge([receipt.id])
      return
    }
    const usage = lateUsage(receipt, key)
    parts.meter.settleLate({ usage, receipt: stored(key.account.id) })
  }

  return {
    expect(done) {
      entered(done.request)
      waiting.set(done.attempt, done)
    },
    hold: (attempt) => void held.set(attempt, null),
    witness(done) {
      entered(done.request)
      const early = held.get(done.attempt)
      held.delete(done.attempt)
      if (early) payOnReceipt(done, early)
      else payOnOwnWord(done)
    },
    forgive(attempt) {
      const done = waiting.get(attempt)
      if (waiting.delete(attempt) && done) left(done.request)
      held.delete(attempt)
      forgiven.add(attempt)
      if (forgiven.size > MAX_FORGIVEN)
        for (const oldest of forgiven) return void forgiven.delete(oldest)
    },
    take(link, batch) {
      const checked = checkBatch(link, batch, verifierOf(verifiers, link))
      if (!checked) {
        parts.disputed()
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
        if (receipt) parts.linkOf(usage.node)?.acknowledge([receipt.id])
        left(usage.request)
      })
    },
    quiet(id, timeoutMs) {
      const known = unsettled.get(id) ?? unsettled.get(requestOfReceipt(waiting, id) ?? '')
      if (!known) return Promise.resolve()
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        known.waiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    },
    get expected() {
      return waiting.size
    },
    close() {
      clearInterval(sweep)
      for (const done of waiting.values()) payOnOwnWord(done)
      waiting.clear()
    },
  }
}

function requestOfReceipt(
  waiting: ReadonlyMap<string, DoneAttempt>,
  receiptId: string,
): string | undefined {
  return waiting.get(`att_${receiptId.slice(receiptId.indexOf('_') + 1)}`)?.request
}

function verifierOf(
  known: WeakMap<NodeLink, SignatureVerifier>,
  link: NodeLink,
): SignatureVerifier {
  const made = known.get(link) ?? signatureVerifier(link.nodeKey)
  known.set(link, made)
  return made
}

/** The batch's record when the node's signature covers exactly these texts, else null. */
function checkBatch(
  link: NodeLink,
  batch: ReceiptBatch,
  verify: SignatureVerifier,
): ReceiptBatchRecord | null {
  const leaves = batch.receipts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const { signature, signedAtMs } = batch
  if (!verify(RECEIPT_DOMAIN, batchText(root, leaves.length, signedAtMs), signature)) return null
  return { root, signer: link.node, signedAtMs, signature, leaves: Buffer.concat(leaves) }
}

function parseReceipt(text: string): Receipt | null {
  try {
    const parsed = receiptSchema.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

/** Null when the receipt says what the gateway saw, else the first difference. */
function disagreement(receipt: Receipt, done: DoneAttempt): string | null {
  const said: [string, string | number | bigint, string | number | bigint][] = [
    ['id', receipt.id, receiptIdOf(done.attempt)],
    ['node', receipt.node, done.node],
    ['request', receipt.request, done.request],
    ['model', receipt.model, done.model],
    ['model digest', receipt.modelDigest, done.digest],
    ['input price', BigInt(receipt.inputNanoUsdPerMTok), done.price.inputNanoUsdPerMTok],
    ['output price', BigInt(receipt.outputNanoUsdPerMTok), done.price.outputNanoUsdPerMTok],
    ['output tokens', receipt.outputTokens, done.outputTokens],
    ['request hash', receipt.requestHash, done.requestHash],
    ['output hash', receipt.outputHash, done.outputHash],
    ['text hash', receipt.textHash, done.textHash],
  ]
  for (const [what, theirs, ours] of said) {
    if (theirs !== ours) return `${what}: the node says ${theirs}, the gateway saw ${ours}`
  }
  // A node whose engine broke does not know its prompt's length, and asks for less.
  if (receipt.billedInputTokens > done.billedInputTokens)
    return `billed input tokens: the node says ${receipt.billedInputTokens}, the gateway saw ${done.billedInputTokens}`
  return checkReceiptPrice(receipt)
}

/** What can still be checked when the attempt's own record is gone. */
function lateProblem(receipt: Receipt, ceilingNanoUsd: NanoUsd): string | null {
  if (receipt.id !== receiptIdOf(receipt.attempt)) return 'its id does not fit its attempt'
  if (BigInt(receipt.nanoUsd) > ceilingNanoUsd)
    return `it asks ${receipt.nanoUsd} nano-dollars where ${ceilingNanoUsd} were set aside`
  return checkReceiptPrice(receipt)
}

function usageOf(done: DoneAttempt, nanoUsd: NanoUsd, witness: Usage['witness']): Usage {
  return {
    attempt: done.attempt,
    request: done.request,
    account: done.key.account.id,
    apiKey: done.key.key.id,
    node: done.node,
    model: done.model,
    api: done.api,
    billedInputTokens: done.billedInputTokens,
    outputTokens: done.outputTokens,
    nanoUsd,
    hold: null,
    startedAt: done.startedAt,
    finishedAt: done.finishedAt,
    witness,
  }
}

function lateUsage(receipt: Receipt, key: KeyEntry): Usage {
  return {
    attempt: receipt.attempt,
    request: receipt.request,
    account: key.account.id,
    apiKey: key.key.id,
    node: receipt.node,
    model: receipt.model,
    api: receipt.api,
    billedInputTokens: receipt.billedInputTokens,
    outputTokens: receipt.outputTokens,
    nanoUsd: BigInt(receipt.nanoUsd),
    hold: null,
    startedAt: receipt.startedAtMs,
    finishedAt: receipt.finishedAtMs,
    witness: 'node',
  }
}
