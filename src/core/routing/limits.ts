/**
 * Rate limits for a key and its account: token buckets for requests and for tokens a minute, and a count of
 * what runs. Estimated tokens are taken at admission and corrected at the end, so that a hundred requests at
 * once cannot all pass on an empty count. A bucket admits its limit at once and refills evenly: in any window
 * of t minutes at most limit × (1 + t).
 */
import { refuse, type Refusal } from '../base/refusal.ts'
import { MINUTE, type Millis } from '../base/time.ts'

/** Null: no limit. */
export type Limits = {
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  readonly concurrency: number | null
}

/** What a key or account has used lately. Mutable. */
export type Usage = {
  /** Used and not yet refilled, as of `at`. */
  requests: number
  tokens: number
  running: number
  at: Millis
}

/** One limited party: a key, or the account it belongs to. */
export type Limited = {
  readonly name: 'key' | 'account'
  readonly limits: Limits
  readonly usage: Usage
}

/** Proof of admission, to be settled once. */
export type Admission = {
  readonly parties: readonly Limited[]
  readonly reservedTokens: number
  settled: boolean
}

/** What OpenAI's `x-ratelimit-*` headers say; null where nothing is limited. */
export type RateNumbers = {
  readonly requests: RateNumber | null
  readonly tokens: RateNumber | null
}
export type RateNumber = {
  readonly limit: number
  readonly remaining: number
  /** Seconds until all of the limit is free again. */
  readonly resetS: number
}

export const newUsage = (now: Millis): Usage => ({ requests: 0, tokens: 0, running: 0, at: now })

/** Admits one request with so many estimated tokens, for all parties or for none. */
export function admit(
  parties: readonly Limited[],
  estimatedTokens: number,
  now: Millis,
): Admission | Refusal {
  let worst: Refusal | null = null
  for (const party of parties) {
    refill(party, now)
    const refusal = refusalFor(party, estimatedTokens)
    if (refusal && (worst === null || isLonger(refusal, worst))) worst = refusal
  }
  if (worst) return worst
  for (const { usage } of parties) {
    usage.requests += 1
    usage.tokens += estimatedTokens
    usage.running += 1
  }
  return { parties, reservedTokens: estimatedTokens, settled: false }
}

/** The request is over: what it really used replaces the estimate. Again is nothing. */
export function settle(admission: Admission, usedTokens: number, now: Millis): void {
  if (admission.settled) return
  admission.settled = true
  for (const party of admission.parties) {
    refill(party, now)
    const { usage } = party
    usage.running -= 1
    const tokens = usage.tokens + usedTokens - admission.reservedTokens
    usage.tokens = Math.max(0, Math.min(tokens, overdraft(party)))
  }
}

/** The tightest numbers of all parties, for the response's headers. */
export function rateNumbers(parties: readonly Limited[], now: Millis): RateNumbers {
  for (const party of parties) refill(party, now)
  return {
    requests: tightest(
      parties.map(({ limits, usage }) => numberOf(limits.requestsPerMinute, usage.requests)),
    ),
    tokens: tightest(
      parties.map(({ limits, usage }) => numberOf(limits.tokensPerMinute, usage.tokens)),
    ),
  }
}

/** An estimate that was far too low costs one more minute, not an hour. */
const overdraft = ({ limits }: Limited): number => 2 * (limits.tokensPerMinute ?? 0)

function refill({ limits, usage }: Limited, now: Millis): void {
  const minutes = Math.max(0, now - usage.at) / MINUTE
  usage.requests = left(usage.requests, limits.requestsPerMinute, minutes)
  usage.tokens = left(usage.tokens, limits.tokensPerMinute, minutes)
  usage.at = Math.max(usage.at, now)
}

/** Without a limit nothing is counted, so that a later limit starts clean. */
const left = (used: number, perMinute: number | null, minutes: number): number =>
  perMinute === null ? 0 : Math.max(0, used - perMinute * minutes)

/** A refusal that no waiting cures is the worst. */
const isLonger = (a: Refusal, b: Refusal): boolean =>
  (a.retryAfterS ?? Infinity) > (b.retryAfterS ?? Infinity)

function refusalFor(party: Limited, tokens: number): Refusal | null {
  const { name, limits, usage } = party
  if (limits.concurrency !== null && usage.running >= limits.concurrency)
    return refuse(
      'concurrency_limit_exceeded',
      `This ${name} has ${usage.running} requests running; its limit is ${limits.concurrency}. Wait for one to end.`,
      {
        retryAfterS: 1,
        details: { party: name, limit: limits.concurrency, running: usage.running },
      },
    )
  return (
    overRate(name, 'requests', limits.requestsPerMinute, usage.requests, 1) ??
    overRate(name, 'tokens', limits.tokensPerMinute, usage.tokens, tokens)
  )
}

function overRate(
  name: string,
  unit: 'requests' | 'tokens',
  limit: number | null,
  used: number,
  wanted: number,
): Refusal | null {
  if (limit === null || used + wanted <= limit) return null
  const remaining = Math.max(0, Math.floor(limit - used))
  const details = { party: name, unit, limit, remaining, requested: wanted }
  if (wanted > limit)
    return refuse(
      'rate_limit_exceeded',
      `This request may take ${wanted} ${unit}; this ${name}'s limit is ${limit} ${unit} a minute. Ask for less, e.g. a lower max_tokens.`,
      { details },
    )
  const waitS = Math.max(1, Math.ceil(((used + wanted - limit) / limit) * 60))
  return refuse(
    'rate_limit_exceeded',
    `This ${name}'s limit is ${limit} ${unit} a minute; ${remaining} are left and the request takes ${wanted}. Try again in ${waitS} s.`,
    { retryAfterS: waitS, details },
  )
}

function numberOf(limit: number | null, used: number): RateNumber | null {
  if (limit === null) return null
  return {
    limit,
    remaining: Math.max(0, Math.floor(limit - used)),
    resetS: limit === 0 ? 60 : Math.ceil((used / limit) * 60),
  }
}

function tightest(numbers: readonly (RateNumber | null)[]): RateNumber | null {
  let least: RateNumber | null = null
  for (const number of numbers)
    if (number && (least === null || number.remaining < least.remaining)) least = number
  return least
}
