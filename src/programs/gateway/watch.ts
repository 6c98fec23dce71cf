/**
 * Looks at every running attempt a few times a second: one that is silent far beyond its own rhythm is
 * doubted, its node is pinged, and when the node does not answer either, the attempt is given up and goes on
 * elsewhere. A node that answers is only slow, and gets more time. When this process itself was late, nobody
 * is judged.
 */
import type { Millis } from '../../core/base/time.ts'
import { giveUpAfterMs, isLoopLate, suspectAfterMs } from '../../core/routing/stall.ts'
import type { Attempt } from './attempt.ts'

export type Watch = {
  add(attempt: Attempt): void
  remove(attempt: Attempt): void
  readonly size: number
  close(): void
}

const ROUND_MS = 100
/** A living node answers a ping at once, whatever its model does; this long allows for a busy machine. */
const PING_TIMEOUT_MS = 1_500

export function createWatch(parts: { now: () => Millis }): Watch {
  const { now } = parts
  /** No Set: what comes and goes so often would outlive its time in one (docs/decisions.md). */
  const attempts: Attempt[] = []
  let lastRound = now()
  let lastLate = lastRound
  const timer = setInterval(round, ROUND_MS)
  timer.unref()

  function round(): void {
    const at = now()
    const late = isLoopLate(at - lastRound, ROUND_MS)
    lastRound = at
    if (late) lastLate = at
    // From the end: an attempt that is given up meanwhile leaves its place to one that had its turn.
    for (let i = attempts.length - 1; i >= 0; i--) {
      const attempt = attempts[i]
      if (attempt === undefined) continue
      // A clock that was set back, and a tenant that does not take what came, say nothing about the node.
      if (attempt.lastProgressAt > at || attempt.awaitsTenant) attempt.lastProgressAt = at
      else if (late)
        attempt.lastProgressAt = Math.max(attempt.lastProgressAt, at - suspicionOf(attempt))
      else judge(attempt, at)
    }
  }

  function judge(attempt: Attempt, at: Millis): void {
    const silentMs = at - attempt.lastProgressAt
    const suspicionMs = suspicionOf(attempt)
    if (attempt.doubted || silentMs <= suspicionMs) return
    if (silentMs > giveUpAfterMs(rhythmOf(attempt))) {
      attempt.abandon(`no token for ${Math.round(silentMs)} ms, though the node answers`)
      return
    }
    if (attempt.vouchedAt !== null && at - attempt.vouchedAt <= suspicionMs) return
    attempt.doubted = true
    const { lastProgressAt } = attempt
    void attempt.link.ping(PING_TIMEOUT_MS).then((alive) => {
      attempt.doubted = false
      if (alive) attempt.vouchedAt = now()
      // Its answer may lie here unread, behind its tokens or because this process was stopped.
      const unheard =
        attempt.lastProgressAt > lastProgressAt ||
        lastLate > at ||
        isLoopLate(now() - lastRound, ROUND_MS)
      if (!alive && !unheard)
        attempt.abandon(`silent: no answer to a ping within ${PING_TIMEOUT_MS} ms`)
    })
  }

  return {
    add(attempt) {
      attempt.watchPlace = attempts.push(attempt) - 1
    },
    remove(attempt) {
      const place = attempt.watchPlace
      const last = attempts.at(-1)
      if (place < 0 || last === undefined) return
      attempts[place] = last
      last.watchPlace = place
      attempt.watchPlace = -1
      attempts.pop()
    },
    get size() {
      return attempts.length
    },
    close: () => clearInterval(timer),
  }
}

const rhythmOf = (attempt: Attempt) => ({
  phase: attempt.firstTokenAt === null ? ('first-token' as const) : ('decoding' as const),
  tokenMs: attempt.replica.tokenMs,
  firstTokenMs: attempt.replica.firstTokenMs,
})

const suspicionOf = (attempt: Attempt): number => suspectAfterMs(rhythmOf(attempt))
