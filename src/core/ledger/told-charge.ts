/**
 * What a payer is told that its channel was charged (x402's `chargedCumulativeAmount`, in units of the token) beside what was
 * spent (nano-dollars): the whole units of it, with the fraction carried on. Told is ahead of spent only for a stream, whose head
 * is written before its cost is known: it tells the most that it may cost, and what it did not cost pays the answers after it.
 *
 * Only what was spent is ever claimed on chain: what was told ahead is the payer's, and goes back with the rest when it leaves.
 */
import type { NanoUsd } from '../base/money.ts'
import { NANO_PER_UNIT } from './channel.ts'

/** A voucher's ceiling counts whole units, what was spent may be a fraction of one further. */
const FRACTION: NanoUsd = NANO_PER_UNIT - 1n

/** Units that are asked for a request which costs at most so much, the fraction that is carried included. */
export const unitsToAsk = (ceilingNanoUsd: NanoUsd): bigint =>
  (ceilingNanoUsd + 2n * FRACTION) / NANO_PER_UNIT

/** The most that a request may cost which so many units were signed for, whatever fraction was spent before. */
export const nanoUsdWithin = (units: bigint): NanoUsd =>
  units > 0n ? units * NANO_PER_UNIT - FRACTION : 0n

export const wholeUnits = (nanoUsd: NanoUsd): bigint => nanoUsd / NANO_PER_UNIT

/**
 * Units to tell for one answer, 0 to `signedUnits`: as many as bring what was told up to what will have been spent.
 * `costNanoUsd`: what it cost, or for a stream that begins the most that it may cost.
 */
export function chargeToTell(input: {
  readonly toldUnits: bigint
  readonly spentNanoUsd: NanoUsd
  readonly costNanoUsd: NanoUsd
  readonly signedUnits: bigint
}): bigint {
  const { toldUnits, spentNanoUsd, costNanoUsd, signedUnits } = input
  const owed = wholeUnits(spentNanoUsd + costNanoUsd) - toldUnits
  if (owed <= 0n) return 0n
  return owed < signedUnits ? owed : signedUnits
}
