/**
 * How long to wait before dialling again: full jitter (a uniform draw up to a doubling ceiling), so that
 * thousands of nodes do not come back to a restarted gateway at the same moment.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
import type { Random } from '../../core/base/random.ts'

const FIRST_CEILING_MS = 200
const LAST_CEILING_MS = 15_000

/** A link that lasted so long was good, if only for a gateway that crashes often: the next wait is a short one again. */
const GOOD_LINK_MS = 250

/** After a refusal that only a person can heal: a new clock, key, config or version. */
export const REFUSED_RETRY_MS = 60_000

export class Backoff {
  readonly #random: Random
  #failures = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** `linkedMs`: how long the link that just ended had lasted; 0 when there was none. */
  nextMs(linkedMs: number): number {
    if (linkedMs >= GOOD_LINK_MS) this.#failures = 0
    const ceilingMs = Math.min(FIRST_CEILING_MS * 2 ** this.#failures, LAST_CEILING_MS)
    if (ceilingMs < LAST_CEILING_MS) this.#failures += 1
    return Math.round(this.#random() * ceilingMs)
  }
}
