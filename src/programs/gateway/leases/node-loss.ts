/**
 * Keeps the nodes whose links broke and that did not come back yet, and tells of those that are given up.
 */
import { brokenLink, givenUp, notLinkedYet, type Missing } from '../../../core/market/silence.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'

const LOOK_MS = 500

export type LossWatch = {
  linked(node: string): void
  unlinked(link: NodeLink, reason: string): void
  /** A node that should be linked and is not yet: its leases are of an earlier life of this gateway. */
  expect(node: string): void
  close(): void
}

type Lost = Missing & { readonly lastHeardAt: Millis; readonly why: string }

export function watchForLoss(parts: {
  readonly now: () => Millis
  readonly linkOf: (node: string) => NodeLink | undefined
  /** How many nodes are linked. */
  readonly linkedNodes: () => number
  readonly lost: (node: string, lastHeardAt: Millis, why: string) => void
}): LossWatch {
  const { now, linkOf, linkedNodes, lost } = parts
  const missing = new Map<string, Lost>()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()

  function look(): void {
    if (missing.size === 0) return
    for (const node of missing.keys()) if (linkOf(node)) missing.delete(node)
    for (const node of givenUp(missing, linkedNodes(), now())) {
      const one = missing.get(node)
      missing.delete(node)
      if (one) lost(node, one.lastHeardAt, one.why)
    }
  }

  return {
    linked: (node) => void missing.delete(node),
    unlinked({ node, lastHeardAt }, why) {
      if (linkOf(node)) return // it is linked anew already
      missing.set(node, { ...brokenLink(lastHeardAt, now()), lastHeardAt, why })
    },
    expect(node) {
      if (missing.has(node)) return
      const at = now()
      const why = 'it did not link to this gateway again'
      missing.set(node, { ...notLinkedYet(at), lastHeardAt: at, why })
    },
    close: () => clearInterval(timer),
  }
}
