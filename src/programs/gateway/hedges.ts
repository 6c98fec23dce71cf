/** Hedging for each model: how late a first token may be before a second node is asked, and how often that is paid for. */
import {
  earnHedge,
  hedgeAfterMs,
  newHedge,
  recordFirstTokenTime,
  spendHedge,
  type Hedge,
} from '../../core/routing/hedge.ts'

export type Hedges = {
  /** A first token came after so long: every request teaches, and earns its share of a hedge. */
  firstToken(model: string, elapsedMs: number): void
  /** Null while too little is known. */
  delayMs(model: string): number | null
  spend(model: string): boolean
}

const MAX_MODELS = 1_000

export function createHedges(): Hedges {
  const byModel = new Map<string, Hedge>()
  function of(model: string): Hedge {
    const known = byModel.get(model)
    if (known) return known
    if (byModel.size >= MAX_MODELS) byModel.clear()
    const made = newHedge()
    byModel.set(model, made)
    return made
  }
  return {
    firstToken(model, elapsedMs) {
      const hedge = of(model)
      earnHedge(hedge)
      recordFirstTokenTime(hedge, elapsedMs)
    },
    delayMs: (model) => hedgeAfterMs(of(model)),
    spend: (model) => spendHedge(of(model)),
  }
}
