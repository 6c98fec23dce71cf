/** How long nodes stay: a Weibull distribution fitted to runs, of which some were still going when the test ended. */
import type { Random } from '../../../core/base/random.ts'

export type Weibull = { readonly shape: number; readonly scaleMs: number }

/** `weight` runs that ended after so long, or were seen for so long and did not end. */
export type Run = { readonly ms: number; readonly weight: number; readonly ended: boolean }

/**
 * The most likely shape and scale with censored runs: the root of
 * Σ tᵏ ln t / Σ tᵏ − 1/k − mean(ln t of the ended) in k, found by halving.
 */
export function fitWeibull(runs: readonly Run[]): Weibull {
  const ended = runs.filter((run) => run.ended)
  const deaths = ended.reduce((sum, { weight }) => sum + weight, 0)
  if (deaths === 0) throw new RangeError('nothing ended: no lifetime can be fitted')
  const meanLog = ended.reduce((sum, { ms, weight }) => sum + weight * Math.log(ms), 0) / deaths
  const slope = (shape: number): number => {
    let [powers, logs] = [0, 0]
    for (const { ms, weight } of runs) {
      powers += weight * ms ** shape
      logs += weight * ms ** shape * Math.log(ms)
    }
    return logs / powers - 1 / shape - meanLog
  }
  let [low, high] = [0.05, 10]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (slope(middle) < 0) low = middle
    else high = middle
  }
  const shape = (low + high) / 2
  const powers = runs.reduce((sum, { ms, weight }) => sum + weight * ms ** shape, 0)
  return { shape, scaleMs: (powers / deaths) ** (1 / shape) }
}

/** A lifetime in milliseconds. */
export const drawWeibull = ({ shape, scaleMs }: Weibull, random: Random): number =>
  scaleMs * (-Math.log(1 - random())) ** (1 / shape)

/** A lifetime, given that so much of it is over. */
export const drawRemaining = (
  { shape, scaleMs }: Weibull,
  ageMs: number,
  random: Random,
): number => {
  const spent = (ageMs / scaleMs) ** shape
  return scaleMs * (spent - Math.log(1 - random())) ** (1 / shape) - ageMs
}

/** Its mean, by adding up the survival function. */
export function meanOf({ shape, scaleMs }: Weibull): number {
  const step = 0.001
  let sum = 0
  // ∫ of (−ln(1−u))^(1/k) over u, at the middle of each step.
  for (let u = step / 2; u < 1; u += step) sum += (-Math.log(1 - u)) ** (1 / shape)
  return scaleMs * sum * step
}
