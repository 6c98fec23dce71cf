/**
 * The book of one gateway: chains each receipt to the one before, keeps it in the spool, signs batches and
 * hands them in until they are acknowledged.
 *
 *   write() ─► spool (one sync for all of 100 ms) ─► batch, one signature ─► link ─► acknowledged ─► paid
 *                                                     ▲                       │
 *                                                     └── relinked, or 30 s of silence
 *
 * One signature a batch keeps Ed25519 out of what a request costs.
 */
import { priceTokens, type TokenPrice } from '../../core/base/money.ts'
import { reasonOf } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { MAX_CONTROL_PAYLOAD_BYTES } from '../../core/protocol/frame.ts'
import { merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  MAX_RECEIPTS_PER_BATCH,
  RECEIPT_BATCH_MS,
  RECEIPT_DOMAIN,
  receiptIdOf,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { sha256, type Identity } from '../../io/keys/identity.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { Spool, SpooledReceipt } from './spool.ts'

/** What an attempt knows of itself; the book adds who, for whom, the money and the chain. */
export type ReceiptDraft = Omit<
  Receipt,
  | 'v'
  | 'id'
  | 'gateway'
  | 'node'
  | 'nodeKey'
  | 'inputNanoUsdPerMTok'
  | 'outputNanoUsdPerMTok'
  | 'carryIn'
  | 'carryOut'
  | 'nanoUsd'
  | 'previous'
>

export type Paid = { readonly receipts: number; readonly nanoUsd: bigint }

export type BookParts = {
  readonly gateway: string
  readonly identity: Identity
  readonly spool: Spool
  readonly now: () => Millis
  readonly logger: Logger
  /** The gateway acknowledged these: the money is the provider's. */
  readonly onPaid: (paid: Paid) => void
  readonly batchMs?: number
  readonly representMs?: number
}

/** False: no link or a congested one; the batch is kept. */
export type SendBatch = (batch: ReceiptBatch) => boolean

/** Sent and not yet acknowledged: more than this only fills buffers of a gateway that is behind. */
const MAX_SENT_RECEIPTS = 4 * MAX_RECEIPTS_PER_BATCH
/** A gateway commits within a second; one that lost a batch is told again. */
const REPRESENT_MS = 30_000
const DISK_RETRY_MS = 1_000
/** A character may take three bytes on the link. */
const MAX_BATCH_TEXT_CHARACTERS = MAX_CONTROL_PAYLOAD_BYTES / 3 - 1024

export class ReceiptBook {
  readonly #parts: BookParts
  readonly #batchMs: number
  #send: SendBatch | null = null
  /** Durable, and to be sent on this link; oldest first. */
  #unsent: SpooledReceipt[] = []
  /** Sent on this link and not acknowledged; oldest first. */
  readonly #sent = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #watch: NodeJS.Timeout | null = null
  #lastBatchAt: Millis = 0
  #ticking: Promise<void> | null = null
  #failing = false
  #closed = false
  #waiters: (() => void)[] = []

  constructor(parts: BookParts) {
    this.#parts = parts
    this.#batchMs = parts.batchMs ?? RECEIPT_BATCH_MS
  }

  get gateway(): string {
    return this.#parts.gateway
  }

  /** Why no new work should be taken for this gateway, or null. */
  get trouble(): string | null {
    return this.#parts.spool.trouble
  }

  get unacknowledged(): number {
    return this.#parts.spool.unacknowledged
  }

  /** Chains one receipt. It reaches the disk and the gateway within about `batchMs`. */
  write(draft: ReceiptDraft, price: TokenPrice): Receipt {
    const { identity, spool, gateway } = this.#parts
    const { previous, carry } = spool.chain
    const { billedInputTokens: inputTokens, outputTokens } = draft
    const due = priceTokens({ inputTokens, outputTokens, price, carry: BigInt(carry) })
    const receipt: Receipt = {
      ...draft,
      v: 1,
      id: receiptIdOf(draft.attempt),
      gateway,
      node: identity.id,
      nodeKey: identity.publicKey,
      inputNanoUsdPerMTok: String(price.inputNanoUsdPerMTok),
      outputNanoUsdPerMTok: String(price.outputNanoUsdPerMTok),
      carryIn: carry,
      carryOut: Number(due.carry),
      nanoUsd: String(due.nanoUsd),
      previous,
    }
    spool.append(receipt)
    this.#wake(this.#untilNextBatch())
    return receipt
  }

  /** A link to the gateway is up: everything it has not acknowledged is handed in, oldest first. */
  linked(send: SendBatch): void {
    this.#send = send
    this.#sent.clear()
    this.#unsent = this.#parts.spool.durable()
    this.#wake(0)
  }

  /** That link is gone; another one to the same gateway may have replaced it already. */
  unlinked(send: SendBatch): void {
    if (this.#send !== send) return
    this.#send = null
    this.#settled()
  }

  /** The gateway has these durably. */
  acknowledged(ids: readonly string[]): void {
    const gone = this.#parts.spool.acknowledge(ids)
    for (const { id } of gone) this.#sent.delete(id)
    if (gone.length === 0) return
    const nanoUsd = gone.reduce((sum, receipt) => sum + receipt.nanoUsd, 0n)
    this.#wake(this.#untilNextBatch())
    this.#parts.onPaid({ receipts: gone.length, nanoUsd })
    this.#settled()
  }

  /** Writes and sends what is left, and waits for its acknowledgement; true when nothing is owed any more. */
  async settle(timeoutMs: number): Promise<boolean> {
    await this.#tick()
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#waiters.push(() => {
        clearTimeout(timer)
        resolve()
      })
      this.#settled()
    })
    return this.unacknowledged === 0
  }

  /** Writes what is left to disk, for the next run. */
  async close(): Promise<void> {
    this.#closed = true
    this.#send = null
    this.#settled()
    await this.#ticking
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#watch) clearTimeout(this.#watch)
    await this.#parts.spool.close()
  }

  /** Wakes those who wait until nothing is owed, or until nobody is there to acknowledge. */
  #settled(): void {
    if (this.unacknowledged > 0 && this.#send !== null) return
    for (const waiter of this.#waiters) waiter()
    this.#waiters = []
  }

  /** Never longer than one batch, even when the clock has been set back. */
  #untilNextBatch(): number {
    const sinceLast = this.#parts.now() - this.#lastBatchAt
    return Math.min(this.#batchMs, Math.max(0, this.#batchMs - sinceLast))
  }

  #wake(inMs: number): void {
    if (this.#timer || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.#tick()
    }, inMs)
  }

  /** One at a time: a second caller shares the running one and then makes another. Never rejects. */
  async #tick(): Promise<void> {
    if (this.#ticking) await this.#ticking
    this.#ticking ??= this.#commitAndSend().finally(() => {
      this.#ticking = null
    })
    await this.#ticking
  }

  async #commitAndSend(): Promise<void> {
    const { spool, logger, gateway, now } = this.#parts
    this.#lastBatchAt = now()
    try {
      const durable = await spool.flush()
      if (this.#send) this.#unsent.push(...durable)
      if (this.#failing) logger.info('receipts are kept again', { gateway })
      this.#failing = false
    } catch (error) {
      if (!this.#failing) logger.error('receipts wait in memory', { gateway, error })
      this.#failing = true
      this.#wake(DISK_RETRY_MS)
    }
    try {
      this.#sendBatch()
    } catch (error) {
      logger.error('receipts could not be sent', { gateway, reason: reasonOf(error) })
      this.#wake(DISK_RETRY_MS)
    }
  }

  #sendBatch(): void {
    const room = Math.min(MAX_RECEIPTS_PER_BATCH, MAX_SENT_RECEIPTS - this.#sent.size)
    if (!this.#send) return
    const batch = this.#nextBatch(room)
    if (batch.length > 0) {
      if (!this.#send(this.#sign(batch))) this.#unsent.unshift(...batch)
      else for (const { id } of batch) this.#sent.add(id)
    }
    if (this.#unsent.length > 0 && room > 0) this.#wake(this.#batchMs)
    this.#watchOldest()
  }

  /** When the oldest receipt sent is still not acknowledged after a while, all of them are handed in again. */
  #watchOldest(): void {
    const [oldest] = this.#sent
    if (this.#watch || oldest === undefined || this.#closed) return
    const { representMs = REPRESENT_MS, spool, logger, gateway } = this.#parts
    this.#watch = setTimeout(() => {
      this.#watch = null
      if (this.#sent.has(oldest)) {
        logger.warn('receipts are handed in again', { gateway, receipts: this.#sent.size })
        this.#sent.clear()
        this.#unsent = spool.durable()
      }
      this.#wake(0)
    }, representMs)
  }

  /** Takes the oldest that fit into one batch off the queue; what was acknowledged meanwhile is left out. */
  #nextBatch(room: number): SpooledReceipt[] {
    const batch: SpooledReceipt[] = []
    let characters = 0
    let taken = 0
    for (const receipt of this.#unsent) {
      characters += receipt.text.length
      if (batch.length === room || characters > MAX_BATCH_TEXT_CHARACTERS) break
      if (this.#parts.spool.has(receipt.id)) batch.push(receipt)
      taken += 1
    }
    this.#unsent.splice(0, taken)
    return batch
  }

  #sign(receipts: readonly SpooledReceipt[]): ReceiptBatch {
    const signedAtMs = this.#parts.now()
    const leaves = receipts.map((receipt) => receipt.leaf)
    const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
    const text = batchText(root, leaves.length, signedAtMs)
    const signature = this.#parts.identity.sign(RECEIPT_DOMAIN, text)
    return { signedAtMs, signature, receipts: receipts.map((receipt) => receipt.text) }
  }
}
