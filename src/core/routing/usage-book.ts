/** The usage of every key and account seen lately, bounded: who was idle long enough is as good as new. */
import { MINUTE, type Millis } from '../base/time.ts'
import { newUsage, type Usage } from './limits.ts'

/** 100 bytes each. Above the number of connections, so that there is always one that runs nothing. */
export const MAX_USAGES = 100_000
/** Even an overdrawn bucket is full again after two minutes. */
const FORGET_AFTER_MS = 2 * MINUTE
/** Old ones looked at with each newcomer: twice what comes in goes out. */
const SWEEP = 2

export class UsageBook {
  readonly #usages = new Map<string, Usage>()
  readonly #limit: number

  constructor(limit: number = MAX_USAGES) {
    this.#limit = limit
  }

  get size(): number {
    return this.#usages.size
  }

  /** The usage of a key or account; the same object as long as it matters. */
  of(id: string, now: Millis): Usage {
    const known = this.#usages.get(id)
    if (known) return known
    this.#sweep(now)
    const usage = newUsage(now)
    this.#usages.set(id, usage)
    return usage
  }

  /** Makes room: who is idle goes, who is not gets behind the others and so a second chance. */
  #sweep(now: Millis): void {
    let looked = 0
    for (const [id, usage] of this.#usages) {
      const crowded = this.#usages.size >= this.#limit
      if (looked >= (crowded ? this.#limit : SWEEP)) return
      looked += 1
      this.#usages.delete(id)
      // What runs is never forgotten: its end must be counted where its start was.
      const matters = usage.running > 0 || (!crowded && usage.at >= now - FORGET_AFTER_MS)
      if (matters) this.#usages.set(id, usage)
    }
  }
}
