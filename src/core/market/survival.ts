/**
 * How likely a node is to live on. Machines of independent providers fail less the longer they have been up: SaladCloud's
 * week with 100 consumer GPUs (182 reallocations) fits a Weibull distribution of shape 0.75 and scale 94.7 h.
 */
import { DAY, MINUTE, type Millis } from '../base/time.ts'

const SHAPE = 0.75
const SCALE_MS: Millis = 94.7 * 60 * MINUTE
/** What a tenant's lease is taken to last when nobody says. */
export const USUAL_LEASE_MS: Millis = DAY

/** Probability that a node that has been up for `upMs` is up for `moreMs` more. 24 h from new: 0.70. */
export function survival(upMs: Millis, moreMs: Millis = USUAL_LEASE_MS): number {
  return Math.exp(hazard(upMs) - hazard(upMs + Math.max(moreMs, 0)))
}

const hazard = (ms: Millis): number => (Math.max(ms, 0) / SCALE_MS) ** SHAPE
