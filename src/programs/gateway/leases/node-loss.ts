/**
 * When a node is lost: its link broke and it did not come back within a moment. When many vanish at once it is more
 * likely that this gateway's own line is down: then nobody is given up for a while.
 */
import { SECOND, type Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'

/** A link that breaks and is made again is no loss; a node that was silent has had its time. */
const BACK_MS = 3 * SECOND
/** After a start of this gateway all of its nodes have to find it first. */
const FIRST_LINK_MS = 30 * SECOND
/** So many of all, and at least so many, within a moment: we suspect ourselves. */
const MASS_SHARE = 0.3
const MASS_LEAST = 3
const MASS_WINDOW_MS = 10 * SECOND
/** Then we wait so long. */
const MASS_WAIT_MS = 60 * SECOND
const LOOK_MS = 500

export type LossWatch = {
  linked(node: string): void
  unlinked(link: NodeLink, reason: string): void
  /** A node that should be linked and is not yet: its leases are of an earlier life of this gateway. */
  expect(node: string): void
  close(): void
}

type Missing = {
  readonly since: Millis
  readonly lastHeardAt: Millis
  readonly why: string
  readonly until: Millis
}

export function watchForLoss(parts: {
  readonly now: () => Millis
  readonly linkOf: (node: string) => NodeLink | undefined
  readonly nodes: () => readonly NodeLink[]
  readonly lost: (node: string, lastHeardAt: Millis, why: string) => void
}): LossWatch {
  const { now, linkOf, nodes, lost } = parts
  const missing = new Map<string, Missing>()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()

  function look(): void {
    const at = now()
    for (const [node, { until, lastHeardAt, why }] of missing) {
      if (linkOf(node)) missing.delete(node)
      else if (at >= until) {
        missing.delete(node)
        lost(node, lastHeardAt, why)
      }
    }
  }

  /** Those that vanished with the last one; many of them get more time. */
  function doubtOurselves(at: Millis): void {
    const fresh = [...missing].filter(([, { since }]) => at - since <= MASS_WINDOW_MS)
    const all = nodes().length + missing.size
    if (fresh.length < MASS_LEAST || fresh.length <= MASS_SHARE * all) return
    for (const [node, one] of fresh)
      missing.set(node, { ...one, until: Math.max(one.until, one.since + MASS_WAIT_MS) })
  }

  return {
    linked: (node) => void missing.delete(node),
    unlinked({ node, lastHeardAt }, why) {
      if (linkOf(node)) return // it is linked anew already
      const at = now()
      missing.set(node, { since: at, lastHeardAt, why, until: Math.max(at, lastHeardAt + BACK_MS) })
      doubtOurselves(at)
    },
    expect(node) {
      const at = now()
      if (missing.has(node)) return
      missing.set(node, {
        since: at,
        lastHeardAt: at,
        why: 'it did not link to this gateway again',
        until: at + FIRST_LINK_MS,
      })
    },
    close: () => clearInterval(timer),
  }
}
