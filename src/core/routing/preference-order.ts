/** How `provider.order`, `sort` and the preferred speeds rank replicas: they replace balancing by load. */
import type { Millis } from '../base/time.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import type { Demands } from './demands.ts'
import { expectedFinishMs } from './expected-finish.ts'
import type { Replica } from './replica.ts'

/** Below 0 when the first is to be preferred. */
export type Compare = (a: Replica, b: Replica) => number

/**
 * Named order first, then those that meet the preferred speeds, then the sort, then expected finish. Null when
 * the request prefers nothing, and load alone decides.
 */
export function preferenceOrder(
  wish: { preferences: ProviderPreferences; expectedTokens: number; now: Millis },
  { order }: Demands,
): Compare | null {
  const { preferences, expectedTokens, now } = wish
  const { sort, minThroughput, maxLatencyS } = preferences
  if (!order && sort === null && minThroughput === null && maxLatencyS === null) return null
  const place = (replica: Replica): number => order?.rank(replica) ?? Infinity
  return (a, b) =>
    difference(place(a), place(b)) ||
    misses(a, preferences) - misses(b, preferences) ||
    (sort === null ? 0 : difference(MEASURE[sort](a), MEASURE[sort](b))) ||
    expectedFinishMs(a, expectedTokens, now) - expectedFinishMs(b, expectedTokens, now)
}

/** What each sort makes small. What was never measured sorts last, since nobody can promise it. */
const MEASURE: Record<NonNullable<ProviderPreferences['sort']>, (replica: Replica) => number> = {
  price: ({ price }) => Number(price.inputNanoUsdPerMTok + price.outputNanoUsdPerMTok),
  throughput: ({ tokenMs }) => tokenMs || Infinity,
  latency: ({ firstTokenMs }) => firstTokenMs || Infinity,
}

/** Preferred speeds that the replica is known to miss; unmeasured ones are given the chance. */
function misses(replica: Replica, { minThroughput, maxLatencyS }: ProviderPreferences): number {
  const tooSlow = minThroughput !== null && replica.tokenMs * minThroughput > 1000
  const tooLate = maxLatencyS !== null && replica.firstTokenMs > maxLatencyS * 1000
  return Number(tooSlow) + Number(tooLate)
}

/** a − b, also where both are infinite. */
const difference = (a: number, b: number): number => (a === b ? 0 : a - b)
