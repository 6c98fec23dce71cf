/** When silence proves that a peer is gone, and when it only proves that we ourselves were asleep. */
import { HEARTBEAT_MS } from '../../core/protocol/link.ts'
import type { Millis } from '../../core/base/time.ts'

/** Beats a peer may miss. */
const MISSED_BEATS = 3

/** Judges silence on a regular tick. A tick that comes late judges nobody: what peers sent meanwhile is still unread. */
export class SilenceJudge {
  readonly #beatMs: number
  #lastTickAt: Millis
  #late = false

  constructor(now: Millis, beatMs: number = HEARTBEAT_MS) {
    this.#lastTickAt = now
    this.#beatMs = beatMs
  }

  /** Call on each tick, one beat apart, before `isGone`. */
  tick(now: Millis): void {
    this.#late = now - this.#lastTickAt > 1.5 * this.#beatMs
    this.#lastTickAt = now
  }

  isGone(lastHeardAt: Millis): boolean {
    return !this.#late && this.#lastTickAt - lastHeardAt > MISSED_BEATS * this.#beatMs
  }
}
