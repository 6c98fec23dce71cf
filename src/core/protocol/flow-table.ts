/** Flows of datagrams at either end of a tunnel: only so many, the one that was quiet for longest goes first. */
import type { Millis } from '../base/time.ts'

export type FlowLimits = { readonly max: number; readonly idleMs: number }

type Held<Flow> = { readonly flow: Flow; usedAt: Millis }

export class FlowTable<Key, Flow> {
  readonly #limits: FlowLimits
  readonly #gone: (flow: Flow, key: Key) => void
  /** In the order of their last use: a Map keeps the order in which keys were set. */
  readonly #held = new Map<Key, Held<Flow>>()

  /** `gone` hears of each flow that leaves, whatever the reason. */
  constructor(limits: FlowLimits, gone: (flow: Flow, key: Key) => void) {
    this.#limits = limits
    this.#gone = gone
  }

  get size(): number {
    return this.#held.size
  }

  /** The flow, which is in use by that. */
  use(key: Key, now: Millis): Flow | undefined {
    const held = this.#held.get(key)
    if (held === undefined) return undefined
    held.usedAt = now
    this.#held.delete(key)
    this.#held.set(key, held)
    return held.flow
  }

  /** A new one; the oldest makes room for it. */
  add(key: Key, flow: Flow, now: Millis): void {
    this.remove(key)
    for (const oldest of this.#held.keys()) {
      if (this.#held.size < this.#limits.max) break
      this.remove(oldest)
    }
    this.#held.set(key, { flow, usedAt: now })
  }

  remove(key: Key): void {
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#held.delete(key)
    this.#gone(held.flow, key)
  }

  /** Forgets what was idle for too long. */
  sweep(now: Millis): void {
    for (const [key, { usedAt }] of this.#held) {
      if (now - usedAt < this.#limits.idleMs) return
      this.remove(key)
    }
  }

  clear(): void {
    for (const key of this.#held.keys()) this.remove(key)
  }
}
