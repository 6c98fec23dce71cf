/**
 * Which silent nodes are lost. When many fall silent at once it is more likely that we do not hear than that they do
 * not speak: then nobody is given up until they had much longer.
 */
import { MINUTE, SECOND, type Millis } from '../base/time.ts'

/** Three heartbeats and the time of a new link: a node that is silent for so long is gone. */
export const LOST_AFTER_MS: Millis = 8 * SECOND
/** While we suspect ourselves. */
export const LOST_AFTER_DOUBT_MS: Millis = MINUTE
/** More than this part of all nodes at once, and at least so many: of three nodes one may always fail. */
const DOUBT_SHARE = 0.3
const DOUBT_LEAST = 3

export type Silence = {
  /** They earn nothing after they were last heard. */
  readonly lost: readonly string[]
  readonly suspectOurselves: boolean
}

/** `lastHeardAt`: of every node that has a lease or an open link. */
export function judgeSilence(lastHeardAt: ReadonlyMap<string, Millis>, now: Millis): Silence {
  const silent = [...lastHeardAt].filter(([, at]) => now - at >= LOST_AFTER_MS)
  const fresh = silent.filter(([, at]) => now - at < LOST_AFTER_DOUBT_MS)
  const suspectOurselves =
    fresh.length >= DOUBT_LEAST && fresh.length > DOUBT_SHARE * lastHeardAt.size
  const lost = suspectOurselves ? silent.filter((one) => !fresh.includes(one)) : silent
  return { lost: lost.map(([node]) => node), suspectOurselves }
}
