/**
 * A credit tranche: money of one tenant that the store holds for a while and that a gateway spends from memory
 * meanwhile, so that a request costs no query. At every moment held = free + reserved + spent.
 */
import { NANO_PER_USD, type NanoUsd } from '../base/money.ts'
import { SECOND, type Millis } from '../base/time.ts'

export type Tranche = {
  readonly heldNanoUsd: NanoUsd
  /** The most that running requests can still cost. */
  readonly reservedNanoUsd: NanoUsd
  readonly spentNanoUsd: NanoUsd
}

/** Small, because what a dead gateway held is missing to its tenant until the hold ends: $0.10 for a minute. */
export const TRANCHE_NANO_USD: NanoUsd = NANO_PER_USD / 10n
export const TRANCHE_MS: Millis = 60 * SECOND
/** Nothing new is reserved on a tranche that ends so soon: its renewal must have failed. */
export const lastCallMs = (trancheMs: Millis): Millis => Math.min(5 * SECOND, trancheMs / 4)

export const openTranche = (heldNanoUsd: NanoUsd): Tranche => ({
  heldNanoUsd,
  reservedNanoUsd: 0n,
  spentNanoUsd: 0n,
})

export const freeOf = (tranche: Tranche): NanoUsd =>
  tranche.heldNanoUsd - tranche.reservedNanoUsd - tranche.spentNanoUsd

/** Sets the most a request can cost aside; null when the tranche has not that much left. */
export function reserve(tranche: Tranche, ceilingNanoUsd: NanoUsd): Tranche | null {
  if (freeOf(tranche) < ceilingNanoUsd) return null
  const { heldNanoUsd, reservedNanoUsd, spentNanoUsd } = tranche
  return { heldNanoUsd, reservedNanoUsd: reservedNanoUsd + ceilingNanoUsd, spentNanoUsd }
}

export type Spending = {
  readonly tranche: Tranche
  /** What the reservation still has. */
  readonly leftNanoUsd: NanoUsd
  /** What neither the reservation nor the free rest of the tranche covered. */
  readonly uncoveredNanoUsd: NanoUsd
}

/** Pays for work from its reservation of which `leftNanoUsd` is left, and beyond that from what is free. */
export function spend(tranche: Tranche, leftNanoUsd: NanoUsd, costNanoUsd: NanoUsd): Spending {
  const reserved = least(costNanoUsd, leftNanoUsd)
  const free = least(costNanoUsd - reserved, freeOf(tranche))
  return {
    tranche: {
      heldNanoUsd: tranche.heldNanoUsd,
      reservedNanoUsd: tranche.reservedNanoUsd - reserved,
      spentNanoUsd: tranche.spentNanoUsd + reserved + free,
    },
    leftNanoUsd: leftNanoUsd - reserved,
    uncoveredNanoUsd: costNanoUsd - reserved - free,
  }
}

/** The request is over: what it did not use is free again. */
export const release = (tranche: Tranche, leftNanoUsd: NanoUsd): Tranche => ({
  heldNanoUsd: tranche.heldNanoUsd,
  reservedNanoUsd: tranche.reservedNanoUsd - leftNanoUsd,
  spentNanoUsd: tranche.spentNanoUsd,
})

/** Whether the next tranche should be on its way: less than a quarter is free. */
export const runsLow = (tranche: Tranche): boolean => freeOf(tranche) * 4n < tranche.heldNanoUsd

/** How large the next tranche is: what waits for it, or what the tenant keeps busy anyway, or the usual. */
export const nextTrancheSize = (demand: {
  usualNanoUsd: NanoUsd
  waitingNanoUsd: NanoUsd
  busyNanoUsd: NanoUsd
}): NanoUsd => most(demand.usualNanoUsd, most(demand.waitingNanoUsd, demand.busyNanoUsd))

const least = (a: NanoUsd, b: NanoUsd): NanoUsd => (a < b ? a : b)
const most = (a: NanoUsd, b: NanoUsd): NanoUsd => (a > b ? a : b)
