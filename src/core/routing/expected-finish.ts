/** How long a replica would take for one more attempt, from what was measured and how busy it is. */
import { SECOND, type Millis } from '../base/time.ts'
import { busySlots, type Replica } from './replica.ts'

/** A replica that nobody asks is forgiven with this half-life, so that one bad minute is not for ever. */
export const FADE_HALF_LIFE_MS = 30 * SECOND
/** What a running but never measured replica is taken for: it gets one attempt at a time until it answers. */
export const UNPROVEN_FIRST_TOKEN_MS = 2_000
export const UNPROVEN_TOKEN_MS = 100

/**
 * Expected milliseconds until the attempt's last token. An idle replica that was never measured is expected
 * at once, which makes it the next to be tried.
 */
export function expectedFinishMs(replica: Replica, expectedTokens: number, now: Millis): number {
  const load = 1 + busySlots(replica) / replica.slots
  if (replica.outstanding === 0) {
    const fade = 2 ** ((replica.idleSince - now) / FADE_HALF_LIFE_MS)
    return (replica.firstTokenMs + expectedTokens * replica.tokenMs) * fade * load
  }
  const firstTokenMs = replica.firstTokenMs || UNPROVEN_FIRST_TOKEN_MS
  const tokenMs = replica.tokenMs || (replica.firstTokenMs > 0 ? 0 : UNPROVEN_TOKEN_MS)
  return (firstTokenMs + expectedTokens * tokenMs) * load
}

/** The same without load and without forgiveness; null until measured. */
export function measuredMs(replica: Replica, expectedTokens: number): number | null {
  return replica.firstTokenMs > 0 ? replica.firstTokenMs + expectedTokens * replica.tokenMs : null
}
