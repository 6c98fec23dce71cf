/**
 * Rates: what a lease costs while time passes, in atto-dollars (1e-18 USD) a second, as a bigint in code and a
 * decimal string on the wire. A thousandth of a cent a month still is a whole number of them.
 */
import { NANO_PER_USD, type NanoUsd } from './money.ts'

export type AttoUsdPerSecond = bigint

const ATTO_PER_NANO = 1_000_000_000n
/** Atto-dollars a second, over milliseconds, to whole nano-dollars. */
const ATTO_MS_PER_NANO = ATTO_PER_NANO * 1000n

export const SECONDS_PER_HOUR = 3600n
/** A twelfth of 365.25 days, as price lists reckon. */
export const SECONDS_PER_MONTH = 2_629_800n

/** The fraction of a nano-dollar that `accrue` carries on: atto-dollars per second × milliseconds, 0 ≤ n < 10¹². */
export type RateCarry = bigint

/** What a rate comes to in so many milliseconds. Rounded down here and nowhere else; the rest is carried. */
export function accrue(input: { rate: AttoUsdPerSecond; ms: number; carry: RateCarry }): {
  nanoUsd: NanoUsd
  carry: RateCarry
} {
  const exact = input.rate * BigInt(input.ms) + input.carry
  return { nanoUsd: exact / ATTO_MS_PER_NANO, carry: exact % ATTO_MS_PER_NANO }
}

/** A price for a month or an hour as a rate, rounded down by less than an atto-dollar a second. */
export function rateOf(nanoUsd: NanoUsd, per: 'hour' | 'month'): AttoUsdPerSecond {
  return (nanoUsd * ATTO_PER_NANO) / (per === 'hour' ? SECONDS_PER_HOUR : SECONDS_PER_MONTH)
}

/** What a rate comes to in an hour or a month, for display, rounded to the nearest nano-dollar. */
export function priceFor(rate: AttoUsdPerSecond, per: 'hour' | 'month'): NanoUsd {
  const seconds = per === 'hour' ? SECONDS_PER_HOUR : SECONDS_PER_MONTH
  return (rate * seconds + ATTO_PER_NANO / 2n) / ATTO_PER_NANO
}

/** $1,000,000 an hour: the dearest rate anyone may name. */
export const MAX_RATE: AttoUsdPerSecond = rateOf(1_000_000n * NANO_PER_USD, 'hour')

/** '277777777777777' → its bigint. Null unless a plain decimal integer up to `MAX_RATE`. */
export function parseRate(text: unknown): AttoUsdPerSecond | null {
  if (typeof text !== 'string' || !/^\d{1,24}$/.test(text)) return null
  const rate = BigInt(text)
  return rate <= MAX_RATE ? rate : null
}
