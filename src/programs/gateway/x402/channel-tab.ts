/** What this gateway knows of a channel that pays by x402: what was spent, what its payer was told, and whether it is being used. */
import type { Hex } from '../../../core/base/hex.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import type { Voucher } from '../../../core/ledger/channel-config.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import { chargeToTell, wholeUnits } from '../../../core/ledger/told-charge.ts'
import type { KeyEntry } from '../keyring.ts'

/** Ceilings of vouchers that were served and could come again. */
const MAX_SERVED = 1024

export class ChannelTab {
  readonly id: Hex
  /** Its account at this gateway, with a key that nobody has. */
  readonly payer: KeyEntry
  /** A request of this channel is being served: x402 allows one at a time. */
  busy = false
  /** With the highest ceiling of those whose signature was checked here. */
  newest: Voucher | null = null
  #toldUnits: bigint
  #spentNanoUsd: NanoUsd
  readonly #served = new Set<bigint>()

  /** `chargedUnits`: what the ledger says was spent before this gateway looked. */
  constructor(id: Hex, payer: KeyEntry, chargedUnits: bigint) {
    this.id = id
    this.payer = payer
    this.#toldUnits = chargedUnits
    this.#spentNanoUsd = chargedUnits * NANO_PER_UNIT
  }

  /** x402's `chargedCumulativeAmount`. */
  get toldUnits(): bigint {
    return this.#toldUnits
  }

  get spentNanoUsd(): NanoUsd {
    return this.#spentNanoUsd
  }

  /** The payer signed this. */
  signed(voucher: Voucher): void {
    if (this.newest === null || voucher.maxClaimable > this.newest.maxClaimable)
      this.newest = voucher
  }

  wasServed(ceilingUnits: bigint): boolean {
    return this.#served.has(ceilingUnits)
  }

  /** An answer was given for this voucher: it is good for no other one. */
  serve(ceilingUnits: bigint): void {
    for (const old of this.#served) {
      // Sets keep the order of insertion: the oldest goes first where there are too many.
      if (old <= this.#toldUnits || this.#served.size >= MAX_SERVED) this.#served.delete(old)
    }
    this.#served.add(ceilingUnits)
  }

  /** Units to tell for an answer, which are told with this. */
  tell(costNanoUsd: NanoUsd, signedUnits: bigint): bigint {
    const charge = chargeToTell({
      toldUnits: this.#toldUnits,
      spentNanoUsd: this.#spentNanoUsd,
      costNanoUsd,
      signedUnits,
    })
    this.#toldUnits += charge
    return charge
  }

  /** Cost, or with a negative sum what was reckoned too much. */
  spend(nanoUsd: NanoUsd): void {
    this.#spentNanoUsd += nanoUsd
  }

  /** Told follows what was spent without being told, as by answers whose payer went away, and what the ledger knows. */
  catchUp(chargedUnits: bigint): void {
    const spent = wholeUnits(this.#spentNanoUsd)
    if (spent > this.#toldUnits) this.#toldUnits = spent
    if (chargedUnits <= wholeUnits(this.#spentNanoUsd)) return
    this.#spentNanoUsd = chargedUnits * NANO_PER_UNIT
    if (chargedUnits > this.#toldUnits) this.#toldUnits = chargedUnits
  }

  /** So that the very same ceiling is not asked for again. */
  skipOne(): void {
    this.#toldUnits += 1n
  }
}
