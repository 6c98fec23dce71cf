/**
 * Which nodes without a link are lost. When many vanish at once it is more likely that we do not hear than that they do
 * not speak: then nobody is given up until they had much longer.
 */
import { MINUTE, type Millis } from '../base/time.ts'

export type Missing = {
  /** When its link was gone. */
  readonly since: Millis
  /** Given up then, unless we suspect ourselves. */
  readonly until: Millis
}

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
