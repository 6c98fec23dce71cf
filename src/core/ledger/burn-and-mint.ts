/**
 * Burn and mint: work is priced in dollars, paid by burning the worth of it in tokens, and earned by minting. Rounds as
 * contracts/src/Rewards.sol does. Prices are nano-dollars for one whole token; time is in seconds.
 */
import type { NanoUsd } from '../base/money.ts'
import { UNITS_PER_TOKEN } from './rewards.ts'

const BPS = 10_000n
/** As many as the contract's ring holds. */
const MAX_OBSERVATIONS = 64
/** Observations are at least this part of the window apart, so the ring always reaches back over it. */
const OBSERVATIONS_PER_WINDOW = 32n

/** What pays for work of so many dollars. Rounded up: nothing is bought for less than its price. */
export function tokensToBurn(nanoUsd: NanoUsd, nanoUsdPerToken: bigint): bigint {
  return (nanoUsd * UNITS_PER_TOKEN + nanoUsdPerToken - 1n) / nanoUsdPerToken
}

/** What an epoch may mint for what was burned in it: its worth less the fee, and never more than the schedule. */
export function tokensToMint(input: {
  burnedNanoUsd: NanoUsd
  feeBps: bigint
  nanoUsdPerToken: bigint
  emission: bigint
}): bigint {
  const { burnedNanoUsd, feeBps, nanoUsdPerToken, emission } = input
  const worth = (burnedNanoUsd * (BPS - feeBps)) / BPS
  const amount = (worth * UNITS_PER_TOKEN) / nanoUsdPerToken
  return amount < emission ? amount : emission
}

export type Observation = {
  readonly at: bigint
  readonly nanoUsd: bigint
  /** Price times seconds, from the first observation to this one. */
  readonly cumulative: bigint
}

/** The observations with one more; null when the last is too young. A price holds until the next one. */
export function observe(
  observations: readonly Observation[],
  price: { at: bigint; nanoUsd: bigint; window: bigint },
): readonly Observation[] | null {
  const last = observations.at(-1)
  if (last && price.at < last.at + price.window / OBSERVATIONS_PER_WINDOW) return null
  const cumulative = last ? cumulativeFrom(last, price.at) : 0n
  const next = { at: price.at, nanoUsd: price.nanoUsd, cumulative }
  return [...observations, next].slice(-MAX_OBSERVATIONS)
}

/** The price over the last `window` seconds, weighted by how long each held; null when there is no history that long. */
export function timeWeightedPrice(
  observations: readonly Observation[],
  now: bigint,
  window: bigint,
): bigint | null {
  const last = observations.at(-1)
  const first = observations.findLast(({ at }) => at <= now - window)
  if (!last || !first) return null
  return (cumulativeFrom(last, now) - cumulativeFrom(first, now - window)) / window
}

/** Why burning and minting pause; null when they do not. What was earned can be claimed all the same. */
export function trippedBy(input: {
  observations: readonly Observation[]
  spot: { at: bigint; nanoUsd: bigint }
  now: bigint
  window: bigint
  maxAge: bigint
  maxDeviationBps: bigint
}): 'no_history' | 'observation_old' | 'oracle_old' | 'price_deviates' | null {
  const { observations, spot, now, window, maxAge, maxDeviationBps } = input
  const isFresh = (at: bigint): boolean => at <= now && now - at <= maxAge
  const average = timeWeightedPrice(observations, now, window)
  const last = observations.at(-1)
  if (average === null || !last) return 'no_history'
  if (!isFresh(last.at)) return 'observation_old'
  if (!isFresh(spot.at)) return 'oracle_old'
  const apart = spot.nanoUsd > average ? spot.nanoUsd - average : average - spot.nanoUsd
  return apart * BPS > average * maxDeviationBps ? 'price_deviates' : null
}

function cumulativeFrom(last: Observation, at: bigint): bigint {
  return last.cumulative + last.nanoUsd * (at - last.at)
}
