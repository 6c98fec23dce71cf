/**
 * Which nodes without a link are lost. When many vanish at once it is more likely that we do not hear than that they do
 * not speak: then nobody is given up until they had much longer.
 */
import { MINUTE, SECOND, type Millis } from '../base/time.ts'

export type Missing = {
  /** When its link was gone. */
  readonly since: Millis
  /** Given up then, unless we suspect ourselves. */
  readonly until: Millis
}

/** A link that breaks and is made again is no loss; a node that was silent has had its time. */
const BACK_MS: Millis = 3 * SECOND
/** After a start of this gateway all of its nodes have to find it first. */
const FIRST_LINK_MS: Millis = 30 * SECOND

/** Its link broke just now. */
export const brokenLink = (lastHeardAt: Millis, now: Millis): Missing => ({
  since: now,
  until: Math.max(now, lastHeardAt + BACK_MS),
})

/** It should be linked, and is not yet. */
export const notLinkedYet = (now: Millis): Missing => ({ since: now, until: now + FIRST_LINK_MS })

/** While we suspect ourselves. */
export const DOUBT_MS: Millis = MINUTE
/** More than this part of all nodes at once, and at least so many: of three nodes one may always fail. */
const DOUBT_SHARE = 0.3
const DOUBT_LEAST = 3

/** `missing`: nodes by id; `linked`: how many are there. */
export function givenUp(
  missing: ReadonlyMap<string, Missing>,
  linked: number,
  now: Millis,
): string[] {
  let fresh = 0
  for (const { since } of missing.values()) if (now - since < DOUBT_MS) fresh += 1
  const doubt = fresh >= DOUBT_LEAST && fresh > DOUBT_SHARE * (linked + missing.size)
  const lost: string[] = []
  for (const [node, { since, until }] of missing)
    if (now >= (doubt ? Math.max(until, since + DOUBT_MS) : until)) lost.push(node)
  return lost
}
