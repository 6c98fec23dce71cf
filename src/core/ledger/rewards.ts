/**
 * What an epoch of the optional reward token emits, and who gets how much of it. contracts/src/Rewards.sol holds whoever
 * settles to the same schedule. Amounts are in the token's smallest unit.
 */
import type { NanoUsd } from '../base/money.ts'

const BPS = 10_000n
/** Of 18 decimals: what one whole token is in its smallest unit. */
export const UNITS_PER_TOKEN = 10n ** 18n
/** Rewards.sol takes this much over from one epoch to the next, and no more: a billion providers' rounding. */
export const MAX_CARRY = 1_000_000_000n

export type EmissionSchedule = {
  readonly firstEmission: bigint
  /** Epochs from one halving to the next, 1 at least. */
  readonly halvingEpochs: number
}

/** What an epoch emits at most. Epochs count from 0; halves are rounded down. */
export function emissionOf(schedule: EmissionSchedule, epoch: number): bigint {
  return schedule.firstEmission >> BigInt(Math.floor(epoch / schedule.halvingEpochs))
}

/** Work that was paid and whose receipt was verified. */
export type PaidWork = {
  readonly provider: string
  readonly paidNanoUsd: NanoUsd
  /** What audits say of it, 0 to 10,000. */
  readonly qualityBps: number
}

export type EpochSplit = {
  /** In the order of their names; nobody with nothing. */
  readonly shares: readonly { readonly provider: string; readonly amount: bigint }[]
  /** What rounding left, for the next epoch: less than a unit for each provider. */
  readonly carry: bigint
  /** What nobody earned, and nobody gets. */
  readonly lapsed: bigint
}

/**
 * Splits `pot` and what the last epoch carried over by paid work times quality. Shares + carry + lapsed = pot + carried. Each
 * share is rounded down, so a provider that calls itself two gets no more; who was only there gets nothing.
 */
export function splitEpoch(input: {
  pot: bigint
  carried: bigint
  work: readonly PaidWork[]
}): EpochSplit {
  const { pot, carried, work } = input
  const weights = weightsOf(work)
  const total = sum(weights.values())
  const all = pot + carried
  if (total === 0n) return { shares: [], carry: carried, lapsed: pot }
  const shares = [...weights]
    .map(([provider, weight]) => ({ provider, amount: (all * weight) / total }))
    .filter(({ amount }) => amount > 0n)
    .toSorted((a, b) => (a.provider < b.provider ? -1 : 1))
  const rest = all - sum(shares.map(({ amount }) => amount))
  const carry = rest < MAX_CARRY ? rest : MAX_CARRY
  return { shares, carry, lapsed: rest - carry }
}

/**
 * The most an epoch may emit without making it worth a provider's while to buy its own work, at a network's fee of `feeBps`
 * and the token's price. Buying work of v costs the fee, f·v: the rest comes back. It adds at most v to the weight W of all
 * work, and earns at most E·v/W of an emission that is worth E. So nobody gains while E ≤ f·W, whoever the work in W is from.
 */
export function honestEmission(input: {
  emission: bigint
  work: readonly PaidWork[]
  feeBps: bigint
  nanoUsdPerToken: bigint
}): bigint {
  const { emission, work, feeBps, nanoUsdPerToken } = input
  const weight = sum(weightsOf(work).values())
  const most = (weight * feeBps * UNITS_PER_TOKEN) / (BPS * BPS * nanoUsdPerToken)
  return most < emission ? most : emission
}

/**
 * What the work is worth when each piece counts at its quality, rounded down. With burn and mint no more than this may be minted
 * for, whatever was burned: otherwise the discount of others' bad work would pay for buying one's own good work.
 */
export function weightedWorth(work: readonly PaidWork[]): NanoUsd {
  return sum(weightsOf(work).values()) / BPS
}

/** By provider: nano-dollars times hundredths of a percent. */
function weightsOf(work: readonly PaidWork[]): Map<string, bigint> {
  const weights = new Map<string, bigint>()
  for (const { provider, paidNanoUsd, qualityBps } of work) {
    const quality = BigInt(qualityBps)
    if (paidNanoUsd < 0n || quality < 0n || quality > BPS)
      throw new RangeError(
        `Work of "${provider}" was paid ${paidNanoUsd} nano-dollars at a quality of ${qualityBps}: neither is negative, and quality is 10,000 at most.`,
      )
    weights.set(provider, (weights.get(provider) ?? 0n) + paidNanoUsd * quality)
  }
  return weights
}

function sum(amounts: Iterable<bigint>): bigint {
  let total = 0n
  for (const amount of amounts) total += amount
  return total
}
