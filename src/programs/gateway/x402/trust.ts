/**
 * Requests that are served although the deposit which pays them is mined only, and not final: should the chain drop it for good,
 * the operator bears what they cost. So all of them together are bounded, and their settlements wait for finality.
 */
import type { Hex } from '../../../core/base/hex.ts'
import { isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { MINUTE } from '../../../core/base/time.ts'
import type { ChannelConfig, Voucher } from '../../../core/ledger/channel-config.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { Accepted, ChannelService, ChannelView } from '../money/channel-service.ts'
import type { ChannelTab } from './channel-tab.ts'

type Trusted = {
  /** On chain at its newest block. */
  balanceUnits: bigint
  riskUnits: bigint
  /** Resolves when its vouchers are credited, or are given up. */
  readonly credited: Promise<void>
}

export type TrustParts = {
  readonly channels: Pick<ChannelService, 'open' | 'refresh' | 'channel' | 'accept'>
  readonly logger: Logger
  /** What may be at risk over all channels, units. 0: nothing is trusted before it is final. */
  readonly limitUnits: bigint
  readonly nextBlock: () => Promise<void>
  readonly now: () => number
}

/** A transaction that was mined once and is not final after so long was dropped for good. */
const GIVE_UP_MS = 30 * MINUTE

export class Trust {
  readonly #parts: TrustParts
  readonly #channels = new Map<Hex, Trusted>()
  #atRiskUnits = 0n
  #closed = false

  constructor(parts: TrustParts) {
    this.#parts = parts
  }

  get allowed(): boolean {
    return this.#parts.limitUnits > 0n
  }

  close(): void {
    this.#closed = true
  }

  /** On chain, though not final; null: nothing of it is trusted. */
  balanceUnits(channel: Hex): bigint | null {
    return this.#channels.get(channel)?.balanceUnits ?? null
  }

  /** A deposit of this channel was just mined: from now on up to so much is trusted, as long as there is room. */
  mined(tab: ChannelTab, config: ChannelConfig, proof: Voucher, balanceUnits: bigint): void {
    if (this.#parts.limitUnits === 0n) return
    const known = this.#channels.get(tab.id)
    if (known) {
      known.balanceUnits = balanceUnits
      return
    }
    const trusted: Trusted = {
      balanceUnits,
      riskUnits: 0n,
      credited: this.#untilFinal(tab, config, proof),
    }
    this.#channels.set(tab.id, trusted)
    void trusted.credited.then(() => {
      this.#channels.delete(tab.id)
      this.#atRiskUnits -= trusted.riskUnits
    })
  }

  /** Puts so much at risk for one request; null where that is too much. The promise: see `credited`. */
  take(channel: Hex, units: bigint): Promise<void> | null {
    const trusted = this.#channels.get(channel)
    if (!trusted || this.#atRiskUnits + units > this.#parts.limitUnits) return null
    trusted.riskUnits += units
    this.#atRiskUnits += units
    return trusted.credited
  }

  /** Asks until the book has the deposit, then hands it the newest voucher. */
  async #untilFinal(tab: ChannelTab, config: ChannelConfig, proof: Voucher): Promise<void> {
    const { nextBlock, now, logger } = this.#parts
    const deadline = now() + GIVE_UP_MS
    while (!this.#closed && now() < deadline) {
      await nextBlock()
      try {
        if (await this.#credit(tab, config, proof)) return
      } catch (error) {
        logger.debug('a trusted deposit waits', { channel: tab.id, error })
      }
    }
    if (!this.#closed)
      logger.error('a trusted deposit never became final; the operator bears what it paid', {
        channel: tab.id,
        units: this.#channels.get(tab.id)?.riskUnits,
      })
  }

  async #credit(tab: ChannelTab, config: ChannelConfig, proof: Voucher): Promise<boolean> {
    const { channels } = this.#parts
    const view = await this.#view(tab, config, proof)
    const { newest } = tab
    if (isRefusal(view) || newest === null) return false
    if (view.balanceUnits < newest.maxClaimable) return false
    if (view.ceilingUnits >= newest.maxClaimable) return true
    const accepted: Accepted | Refusal = await channels.accept(newest)
    if (isRefusal(accepted)) return false
    await accepted.durable
    return true
  }

  #view(tab: ChannelTab, config: ChannelConfig, proof: Voucher): Promise<ChannelView | Refusal> {
    const { channels } = this.#parts
    return channels.channel(tab.id) === null
      ? channels.open(config, tab.payer.account.id, proof)
      : channels.refresh(tab.id)
  }
}
