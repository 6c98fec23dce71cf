/**
 * Nodes that said what no honest node says: broken frames, more than was asked for, receipts that disagree. Chance
 * explains none of it, so the first fault is enough: a node that lies once in a hundred answers would else go on for
 * minutes. After Envoy's outlier detection (base_ejection_time × times ejected), doubled as its cooldowns are here.
 */
import { MINUTE, type Millis } from '../base/time.ts'
import type { Cooldown } from './replica.ts'

export const FIRST_QUARANTINE_MS: Millis = MINUTE
export const MAX_QUARANTINE_MS: Millis = 60 * MINUTE
/** After so long without a fault a node starts anew. */
export const FAULT_MEMORY_MS: Millis = 60 * MINUTE
/** Names cost a stranger nothing: the oldest are forgotten first. */
export const MAX_FAULTY_NODES = 20_000

export class FaultBook {
  readonly #byNode = new Map<string, Cooldown>()

  /** Faults while it is quarantined are of work that ran already, and do not prolong it. */
  fault(node: string, reason: string, now: Millis): Cooldown {
    const before = this.#byNode.get(node)
    if (before && now < before.until) return before
    const forgotten = !before || now - before.until >= FAULT_MEMORY_MS
    const failures = forgotten ? 1 : before.failures + 1
    const lengthMs = Math.min(MAX_QUARANTINE_MS, FIRST_QUARANTINE_MS * 2 ** (failures - 1))
    const quarantine = { since: now, until: now + lengthMs, reason, failures, firm: true }
    this.#byNode.delete(node)
    this.#byNode.set(node, quarantine)
    if (this.#byNode.size > MAX_FAULTY_NODES)
      for (const oldest of this.#byNode.keys()) {
        this.#byNode.delete(oldest)
        break
      }
    return quarantine
  }

  /** The quarantine that a node which links again goes on with; null: none. */
  of(node: string, now: Millis): Cooldown | null {
    const known = this.#byNode.get(node)
    return known && now < known.until ? known : null
  }
}
