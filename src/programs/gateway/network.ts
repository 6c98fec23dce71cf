/**
 * The linked nodes, kept as the router and the control API see them: a link's offer becomes replicas in the
 * table, its heartbeats free slots, its end a loss. The store learns in the background who was seen.
 */
import { reasonOf } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { ReceiptBatch } from '../../core/protocol/receipt.ts'
import { replicaFrom, type Replica } from '../../core/routing/replica.ts'
import type { ReplicaTable } from '../../core/routing/replica-table.ts'
import type { LeaseReport } from '../../core/protocol/lease-control.ts'
import type { Tier } from '../../core/protocol/tier.ts'
import type { LinkEvents, NodeLink } from '../../io/link/node-link.ts'
import type { NodeRecord, Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { LinkedNode, LinkedReplica } from './control/control-parts.ts'

export type Network = {
  readonly events: LinkEvents
  nodes(): readonly LinkedNode[]
  readonly links: () => Iterable<NodeLink>
  readonly linkedNodes: () => number
  readonly linkOf: (replica: Replica) => NodeLink | undefined
  readonly linkOfNode: (node: string) => NodeLink | undefined
  readonly tierOf: (node: string) => Tier
  /** An operator changed what is known of a node. */
  changed(record: NodeRecord): void
  close(): void
}

type Parts = {
  table: ReplicaTable
  store: Pick<Store, 'nodeSeen'>
  now: () => Millis
  logger: Logger
  /** Somebody who waits may be served now. */
  look(): void
  readonly receipts: (link: NodeLink, batch: ReceiptBatch) => void
  /** Who looks after leases hears of nodes that come and go. */
  readonly leases: {
    linked(link: NodeLink): void
    offerChanged(link: NodeLink): void
    heartbeat(link: NodeLink): void
    unlinked(link: NodeLink, reason: string): void
    report(link: NodeLink, report: LeaseReport): void
  }
}

/** How often the store is told that a node is still there. */
const NOTE_EVERY_MS = 60_000
/** Names cost a stranger nothing: only so many are remembered, the last ones noted. */
const MAX_RECORDS = 65_536

export function createNetwork(parts: Parts): Network {
  const { table, store, now, logger } = parts
  const byLink = new Map<string, NodeLink>()
  const byNode = new Map<string, NodeLink>()
  const records = new Map<string, NodeRecord>()
  const noted = new Map<string, Millis>()
  const toNote = new Set<NodeLink>()
  let noting = false
  const timer = setInterval(() => {
    for (const link of byLink.values())
      if (now() - (noted.get(link.link) ?? 0) >= NOTE_EVERY_MS) note(link)
  }, NOTE_EVERY_MS / 4)
  timer.unref()

  function offer(link: NodeLink): void {
    const tier = records.get(link.node)?.tier ?? 'community'
    const replicas = link.offer.models.map((model, offerIndex) =>
      replicaFrom({ link: link.link, offer: link.offer, model, offerIndex, tier, now: now() }),
    )
    table.setOffer(link.link, replicas, now())
    if (link.heartbeat) table.heartbeat(link.link, link.heartbeat)
    parts.look()
  }

  /** One query at a time, however many nodes link at once. */
  function note(link: NodeLink): void {
    toNote.add(link)
    if (noting) return
    noting = true
    void noteAll().finally(() => (noting = false))
  }

  async function noteAll(): Promise<void> {
    for (const link of toNote) {
      toNote.delete(link)
      const since = noted.get(link.link) ?? link.linkedAt
      const at = now()
      try {
        const linkedSeconds = Math.max(0, Math.round((at - since) / 1000))
        const record = await store.nodeSeen(link.node, link.nodeKey, at, linkedSeconds)
        noted.set(link.link, at)
        remember(record)
      } catch (error) {
        logger.warn('node not noted', { node: link.node, error: reasonOf(error) })
      }
      if (!byLink.has(link.link)) noted.delete(link.link)
    }
  }

  function remember(record: NodeRecord): void {
    const tierBefore = records.get(record.node)?.tier ?? 'community'
    records.delete(record.node)
    records.set(record.node, record)
    for (const oldest of records.keys()) {
      if (records.size <= MAX_RECORDS) break
      records.delete(oldest)
    }
    const link = byNode.get(record.node)
    if (link && record.tier !== tierBefore) offer(link)
  }

  function describe(link: NodeLink): LinkedNode {
    return {
      link,
      record: records.get(link.node) ?? null,
      replicas: table.ofLink(link.link).flatMap((replica) => describeReplica(link, replica)),
    }
  }

  return {
    events: {
      linked(link) {
        byLink.set(link.link, link)
        byNode.set(link.node, link)
        logger.info('node linked', {
          node: link.node,
          link: link.link,
          models: link.offer.models.map(({ model }) => model),
        })
        offer(link)
        note(link)
        parts.leases.linked(link)
      },
      offerChanged(link) {
        offer(link)
        parts.leases.offerChanged(link)
      },
      heartbeat(link) {
        if (link.heartbeat) table.heartbeat(link.link, link.heartbeat)
        parts.leases.heartbeat(link)
        parts.look()
      },
      draining(link) {
        table.drain(link.link)
        parts.leases.offerChanged(link)
      },
      receipts: parts.receipts,
      leaseReport: (link, report) => parts.leases.report(link, report),
      unlinked(link, reason) {
        logger.info('node unlinked', { node: link.node, link: link.link, reason })
        byLink.delete(link.link)
        if (byNode.get(link.node) === link) byNode.delete(link.node)
        table.removeLink(link.link, link.draining ? null : { reason, now: now() })
        note(link)
        parts.leases.unlinked(link, reason)
      },
    },
    nodes: () => [...byLink.values()].map(describe),
    links: () => byLink.values(),
    linkedNodes: () => byLink.size,
    linkOf: (replica) => byLink.get(replica.link),
    linkOfNode: (node) => byNode.get(node),
    tierOf: (node) => records.get(node)?.tier ?? 'community',
    changed: remember,
    close: () => clearInterval(timer),
  }
}

function describeReplica(link: NodeLink, replica: Replica): LinkedReplica[] {
  const model = link.offer.models[replica.offerIndex]
  if (!model) return []
  const { cooldown, tokenMs, firstTokenMs, outstanding } = replica
  return [
    {
      model,
      outstanding,
      free: Math.max(0, replica.slots - outstanding - replica.othersBusy),
      tokensPerSecond: tokenMs > 0 ? 1000 / tokenMs : null,
      firstTokenMs: firstTokenMs > 0 ? firstTokenMs : null,
      cooldown: cooldown ? { untilMs: cooldown.until, reason: cooldown.reason } : null,
    },
  ]
}
