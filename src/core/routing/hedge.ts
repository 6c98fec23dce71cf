/**
 * Hedging: when the first token is later than 95 % of recent ones, a second node is asked too, and the first
 * to answer wins. Dean and Barroso, The Tail at Scale (2013): p99.9 from 1800 to 74 ms for 2 % more load. A
 * budget of 5 % of the requests bounds the extra load whatever happens. Mutable: one for each model.
 */
export type Hedge = {
  /** The last first-token times, a ring. */
  readonly samples: Float64Array
  taken: number
  /** The 95th percentile, worked out anew every REFRESH samples; null until there are enough. */
  p95Ms: number | null
  /** Hedges that may be sent now. */
  budget: number
}

const SAMPLES = 128
const REFRESH = 16
/** Fewer say nothing about a 95th percentile. */
const MIN_SAMPLES = 32
export const HEDGE_SHARE = 0.05
/** Saved up at most, so that a long calm does not pay for a storm. */
export const MAX_HEDGE_BUDGET = 4

export const newHedge = (): Hedge => ({
  samples: new Float64Array(SAMPLES),
  taken: 0,
  p95Ms: null,
  budget: 0,
})

/** Each request, hedged or not, earns a twentieth of a hedge. */
export function earnHedge(hedge: Hedge): void {
  hedge.budget = Math.min(MAX_HEDGE_BUDGET, hedge.budget + HEDGE_SHARE)
}

export function recordFirstTokenTime(hedge: Hedge, elapsedMs: number): void {
  hedge.samples[hedge.taken % SAMPLES] = elapsedMs
  hedge.taken += 1
  if (hedge.taken < MIN_SAMPLES || hedge.taken % REFRESH !== 0) return
  const sorted = hedge.samples.slice(0, Math.min(hedge.taken, SAMPLES)).toSorted()
  hedge.p95Ms = sorted[Math.floor(sorted.length * 0.95)] ?? null
}

/** How long to wait for the first token before a second node is asked; null: do not hedge yet. */
export const hedgeAfterMs = (hedge: Hedge): number | null => hedge.p95Ms

/** Takes one hedge from the budget; false when it is spent. */
export function spendHedge(hedge: Hedge): boolean {
  if (hedge.budget < 1) return false
  hedge.budget -= 1
  return true
}
