/**
 * When a silent stream is suspect. A node is judged by its own rhythm: suspicion only has it asked (a ping);
 * one that does not answer is given up at once, one that answers gets much longer, since it may be only slow.
 */
import { MINUTE, SECOND, type Millis } from '../base/time.ts'

export type Rhythm = {
  readonly phase: 'first-token' | 'decoding'
  /** The replica's moving averages; 0 while unmeasured. */
  readonly firstTokenMs: number
  readonly tokenMs: number
}

type Patience = {
  readonly leastMs: Millis
  readonly timesAverage: number
  readonly mostMs: Millis
  /** Before anything was measured. */
  readonly unmeasuredMs: Millis
}

/** Short, because a ping costs nothing and a living node answers it whatever its model does. */
const SUSPECT: Record<Rhythm['phase'], Patience> = {
  // A long prompt may take many times the average, so patience is longer and its end further off.
  'first-token': {
    leastMs: SECOND,
    timesAverage: 4,
    mostMs: 5 * SECOND,
    unmeasuredMs: 2 * SECOND,
  },
  decoding: { leastMs: 600, timesAverage: 8, mostMs: 5 * SECOND, unmeasuredMs: SECOND },
}

const GIVE_UP: Record<Rhythm['phase'], Patience> = {
  'first-token': {
    leastMs: 30 * SECOND,
    timesAverage: 20,
    mostMs: 5 * MINUTE,
    unmeasuredMs: 2 * MINUTE,
  },
  decoding: {
    leastMs: 10 * SECOND,
    timesAverage: 100,
    mostMs: MINUTE,
    unmeasuredMs: 30 * SECOND,
  },
}

/** Silence after which the node is asked whether it lives. */
export const suspectAfterMs = (rhythm: Rhythm): Millis => patienceOf(rhythm, SUSPECT[rhythm.phase])

/** Silence after which even a node that answers pings is given up: its engine hangs. */
export const giveUpAfterMs = (rhythm: Rhythm): Millis => patienceOf(rhythm, GIVE_UP[rhythm.phase])

/** How late a round of the watch may be before the watcher itself is what was slow. */
export const MAX_LATENESS_MS = 200

/**
 * Lifeguard's question "am I slow?": after a round that came late, nobody is judged, since what looks like
 * silence may lie here unread. https://arxiv.org/abs/1707.00788
 */
export function isLoopLate(sinceLastRoundMs: Millis, roundMs: Millis): boolean {
  return sinceLastRoundMs - roundMs > MAX_LATENESS_MS
}

function patienceOf(rhythm: Rhythm, patience: Patience): Millis {
  const average = rhythm.phase === 'decoding' ? rhythm.tokenMs : rhythm.firstTokenMs
  if (average <= 0) return patience.unmeasuredMs
  return Math.min(patience.mostMs, Math.max(patience.leastMs, patience.timesAverage * average))
}
