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
  const attempts = new Set<Attempt>()
  let lastRound = parts.now()
  const timer = setInterval(round, ROUND_MS)
  timer.unref()

  function round(): void {
    const now = parts.now()
    const late = isLoopLate(now - lastRound, ROUND_MS)
    lastRound = now
    for (const attempt of attempts) {
      if (late)
        attempt.lastProgressAt = Math.max(attempt.lastProgressAt, now - suspicionOf(attempt))
      else judge(attempt, now)
    }
  }

  return {
    add: (attempt) => void attempts.add(attempt),
    remove: (attempt) => void attempts.delete(attempt),
    get size() {
      return attempts.size
    },
    close: () => clearInterval(timer),
  }
}

function judge(attempt: Attempt, now: Millis): void {
  const silentMs = now - attempt.lastProgressAt
  if (attempt.doubted || silentMs <= suspicionOf(attempt)) return
  if (silentMs > giveUpAfterMs(rhythmOf(attempt))) {
    attempt.abandon(`no token for ${Math.round(silentMs)} ms, though the node answers`)
    return
  }
  attempt.doubted = true
  void attempt.link.ping(PING_TIMEOUT_MS).then((alive) => {
    attempt.doubted = false
    if (!alive) attempt.abandon(`silent: no answer to a ping within ${PING_TIMEOUT_MS} ms`)
  })
}

const rhythmOf = (attempt: Attempt) => ({
  phase: attempt.firstTokenAt === null ? ('first-token' as const) : ('decoding' as const),
  tokenMs: attempt.replica.tokenMs,
  firstTokenMs: attempt.replica.firstTokenMs,
})

const suspicionOf = (attempt: Attempt): number => suspectAfterMs(rhythmOf(attempt))
