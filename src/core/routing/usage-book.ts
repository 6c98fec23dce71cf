/** The usage of every key and account seen lately, bounded: who was idle long enough is as good as new. */
import { MINUTE, type Millis } from '../base/time.ts'
import { newUsage, type Usage } from './limits.ts'

/** 100 bytes each. Above the number of connections, so that there is always one that runs nothing. */
export const MAX_USAGES = 100_000
/** Even an overdrawn bucket is full again after two minutes. */
const FORGET_AFTER_MS = 2 * MINUTE
/** Old ones looked at with each call: twice what one call can add. */
const SWEEP = 2

export class UsageBook {
  /** Least recently used first. */
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
    const usage = this.#usages.get(id) ?? newUsage(now)
    this.#usages.delete(id)
    this.#usages.set(id, usage)
    this.#sweep(usage, now)
    return usage
  }

  #sweep(newest: Usage, now: Millis): void {
    let looked = 0
    for (const [id, usage] of this.#usages) {
      const over = this.#usages.size > this.#limit
      if (usage === newest || (++looked > SWEEP && !over)) return
      // What runs is never forgotten: its end must be counted where its start was.
      if (usage.running === 0 && (over || usage.at < now - FORGET_AFTER_MS)) this.#usages.delete(id)
    }
  }
}
