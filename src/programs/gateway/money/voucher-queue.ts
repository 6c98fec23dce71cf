/**
 * Vouchers on their way to the store. Of each channel only the newest waits: it stands for all before it. Whatever happens to
 * the store, they stay here and go again until they are in it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Hex } from '../../../core/base/hex.ts'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { ChannelStore, NewVoucher, VoucherOutcome } from '../../../io/store/channel-records.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

type Waiting = {
  voucher: NewVoucher
  readonly told: {
    readonly resolve: (outcome: VoucherOutcome) => void
    readonly reject: (reason: unknown) => void
  }[]
}

/** The store takes no more in one statement. */
const BATCH = 500
const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 2_000

export class VoucherQueue {
  readonly #store: Pick<ChannelStore, 'creditVouchers'>
  readonly #logger: Logger
  readonly #delayMs: Millis
  readonly #stopped = new AbortController()
  #waiting = new Map<Hex, Waiting>()
  #running: Promise<void> | null = null

  /** `delayMs`: how long the first of a batch waits for others. */
  constructor(parts: {
    readonly store: Pick<ChannelStore, 'creditVouchers'>
    readonly logger: Logger
    readonly delayMs: Millis
  }) {
    this.#store = parts.store
    this.#logger = parts.logger
    this.#delayMs = parts.delayMs
  }

  /** Resolves when this voucher, or a higher one of its channel, is durable or refused by the store. */
  push(voucher: NewVoucher): Promise<VoucherOutcome> {
    if (this.#stopped.signal.aborted) return Promise.reject(closing())
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(voucher.channel)
      if (waiting) {
        if (voucher.ceilingUnits > waiting.voucher.ceilingUnits) waiting.voucher = voucher
        waiting.told.push({ resolve, reject })
      } else this.#waiting.set(voucher.channel, { voucher, told: [{ resolve, reject }] })
      this.#running ??= this.#run().finally(() => (this.#running = null))
    })
  }

  get backlog(): number {
    return this.#waiting.size
  }

  async #run(): Promise<void> {
    await sleep(this.#delayMs)
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()].slice(0, BATCH)
      for (const { voucher } of batch) this.#waiting.delete(voucher.channel)
      try {
        const outcomes = await this.#write(batch.map(({ voucher }) => voucher))
        for (const [index, { told }] of batch.entries())
          for (const { resolve } of told) resolve(outcomes[index] ?? 'unknown')
      } catch (error) {
        for (const { told } of batch) for (const { reject } of told) reject(error)
      }
    }
  }

  async #write(vouchers: readonly NewVoucher[]): Promise<VoucherOutcome[]> {
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
      try {
        return await this.#store.creditVouchers(vouchers)
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable) throw error
        this.#logger.debug('vouchers wait for the store', { reason: reasonOf(error) })
      }
      if (this.#stopped.signal.aborted) throw closing()
      await sleep(retryMs, null, { signal: this.#stopped.signal }).catch(() => {
        throw closing()
      })
    }
  }

  /** Writes what waits; what the store does not take any more is not acknowledged, and its payers send it again. */
  async close(): Promise<void> {
    const running = this.#running
    this.#stopped.abort()
    await running?.catch(() => {})
  }
}

const closing = (): Fault =>
  new Fault('shutting_down', 'The gateway closes before the voucher is durable; send it again.', {
    retryable: true,
  })
