/** Everything between the two sockets, built and joined: who may, who can, what it costs. */
import { setTimeout as pause } from 'node:timers/promises'
import { parseUsd } from '../../core/base/money.ts'
import { Fault, reasonOf, refuse } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { ReplicaTable } from '../../core/routing/replica-table.ts'
import type { Identity } from '../../io/keys/identity.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { AttemptOutcome, GatewayMetrics } from '../../io/telemetry/metrics.ts'
import { createAttemptIds } from './attempt-id.ts'
import type { Attempt } from './attempt.ts'
import type { GatewayConfig } from './config.ts'
import type { LinkedNode } from './control/control-parts.ts'
import type { Dispatcher } from './dispatcher.ts'
import { createHedges } from './hedges.ts'
import { createKeyring } from './keyring.ts'
import { createMeter } from './meter.ts'
import { createNetwork } from './network.ts'
import { createRandomPool } from './random-pool.ts'
import { IngressTable } from './ingress/ingress-table.ts'
import { randomBytes } from 'node:crypto'
import type { ObjectStore } from '../../io/objects/object-store.ts'
import { LeaseVolumes } from './leases/lease-volumes.ts'
import { serveDeployments } from './leases/deployments.ts'
import { DeploymentCommands } from './leases/commands.ts'
import { Kin } from './leases/kin.ts'
import { LeaseBook } from './leases/lease-book.ts'
import { keepHosts } from './leases/lease-hosts.ts'
import { LeaseMarket } from './leases/lease-market.ts'
import type { Settlement } from './money/settlement.ts'
import type { PublicPlace } from './leases/lease-views.ts'
import type { PayoutPlace, Payouts } from './money/payouts.ts'
import { RegionGateways } from './region-gateways.ts'
import { createReceiptDesk } from './receipt-desk.ts'
import { createWaitingRoom } from './waiting-room.ts'
import { createWatch } from './watch.ts'

type CoreParts = {
  identity: Identity
  /** Where tenants reach what runs. */
  place: () => PublicPlace
  store: Store
  /** Where snapshots go. */
  objects: ObjectStore
  metrics: GatewayMetrics
  logger: Logger
  /** The same at every gateway over this store. */
  now: () => Millis
  secret: Uint8Array
  /** Null: nothing is paid on chain. */
  makePayouts: ((place: PayoutPlace) => Payouts) | null
  /** Null: nothing is settled on a chain. */
  settlement: Settlement | null
}

/** Everything between the two sockets: who may, who can, what it costs. */
export function createCore(config: GatewayConfig, parts: CoreParts) {
  const { identity, store, objects, metrics, logger, now, secret, place, settlement, makePayouts } =
    parts
  const table = new ReplicaTable()
  const room = createWaitingRoom({ config, now })
  const attemptIds = createAttemptIds(secret)
  const keyring = createKeyring({ store, now, logger })
  const network = createNetwork({
    table,
    store,
    now,
    logger,
    look: () => room.look(),
    receipts: (link, batch) => desk.take(link, batch),
    leases: {
      linked(link) {
        book.linked(link)
        region.tell(link)
        payouts?.linked(link)
      },
      offerChanged: (link) => book.offerChanged(link),
      heartbeat: (link) => book.heartbeat(link),
      unlinked: (link, reason) => book.unlinked(link, reason),
      report: (link, report) => book.report(link, report),
    },
  })
  const region = new RegionGateways({
    identity,
    url: config.publicUrl,
    region: config.region,
    store,
    links: network.links,
    now,
    logger,
  })
  const payouts =
    makePayouts?.({ store, links: network.links, linkOf: network.linkOfNode, now, logger }) ?? null
  const market = new LeaseMarket({
    gateway: identity.id,
    tierOf: network.tierOf,
    now,
    bidWindowMs: config.bidWindowMs,
  })
  const own = config.publicUrl === null ? [] : [new URL(config.publicUrl).hostname]
  const hosts = new IngressTable({ domain: config.leaseDomain, own })
  const limitBytes = config.snapshotGibPerTenant * 2 ** 30
  const volumes = new LeaseVolumes({ objects, store, logger, now, random: randomBytes, limitBytes })
  const bookParts = {
    store,
    market,
    volumes,
    gateway: identity.id,
    now,
    logger,
    linkOf: network.linkOfNode,
    whyNotNamed: hosts.whyNot.bind(hosts),
  }
  const book = new LeaseBook({
    ...bookParts,
    kin: new Kin(identity, store),
    hosts: keepHosts({ table: hosts, domain: config.leaseDomain, linkOf: network.linkOfNode }),
    links: network.links,
    linkedNodes: network.linkedNodes,
  })
  const commands = new DeploymentCommands(bookParts, book)
  const meter = createMeter({
    store,
    gateway: identity.id,
    now,
    logger,
    trancheNanoUsd: readTranche(config.trancheUsd),
    trancheMs: config.trancheSeconds * 1000,
    ...(settlement ? { short: settlement.short } : {}),
    onSettled(settlements, outcomes) {
      desk.settled(settlements, outcomes)
      payouts?.settled(settlements.map(({ usage }) => usage.node))
      settlements.forEach(({ usage }, i) => {
        if (outcomes[i] === 'settled' || outcomes[i] === 'uncollected')
          metrics.settled(usage.nanoUsd)
      })
    },
  })
  settlement?.onLeaving((account) => meter.rest(account))
  const desk = createReceiptDesk({
    gateway: identity.id,
    meter,
    keyring,
    attemptIds,
    linkOf: network.linkOfNode,
    now,
    logger,
    disputed(node, reason) {
      metrics.disputed()
      if (reason === null) return
      table.quarantine(node, network.linkOfNode(node)?.link ?? '', reason, now())
      faulty(node, reason)
    },
  })
  function faulty(node: string, reason: string): void {
    metrics.quarantined()
    logger.warn('node quarantined', { node, reason })
  }
  const watch = createWatch({ now })
  const random = createRandomPool()
  const dispatcher: Dispatcher = {
    config,
    table,
    room,
    meter,
    desk,
    watch,
    attemptIds,
    random: random.unit,
    now,
    linkOf: network.linkOf,
    attemptOver(attempt) {
      metrics.attempt(outcomeOf(attempt))
      if (attempt.fault !== null) faulty(attempt.link.node, attempt.fault)
      room.look()
    },
    hedges: createHedges(),
    resumed: () => metrics.attempt('resumed'),
    storeDown(error) {
      logger.warn('store unavailable', { error: reasonOf(error) })
      return refuse(
        'store_unavailable',
        'The ledger cannot be reached just now; nothing was charged. Try again.',
        { retryAfterS: 2 },
      )
    },
  }
  metrics.watch(() => ({
    nodesLinked: network.linkedNodes(),
    slotsFree: freeSlots(network.nodes()),
    queueDepth: room.size,
    settlementBacklog: meter.backlog,
    receiptsPending: desk.expected,
    leases: book.count,
  }))
  return {
    store,
    keyring,
    network,
    dispatcher,
    metrics,
    hosts,
    book,
    payouts,
    leases: serveDeployments({ ...bookParts, book, commands, place }),
    /** Waits for the receipts of answers that are over: half a second covers a node's signing and a slow link. */
    async receiptsIn() {
      for (let round = 0; round < 20 && desk.expected > 0; round++) await pause(25)
    },
    async close() {
      keyring.stop()
      watch.close()
      room.close()
      network.close()
      region.close()
      desk.close()
      commands.close()
      await book.close()
      await meter.close()
      await payouts?.close()
      await settlement?.close()
    },
  }
}

function readTranche(usd: string): bigint {
  const nanoUsd = parseUsd(usd)
  if (nanoUsd !== null && nanoUsd > 0n) return nanoUsd
  throw new Fault(
    'config_invalid',
    `trancheUsd must be dollars above 0, e.g. "0.10"; it is "${usd}"`,
  )
}

function outcomeOf({ failure, result }: Attempt): AttemptOutcome {
  if (result) return result.finish === 'cancelled' ? 'cancelled' : 'ok'
  return failure === null || failure.kind === 'lost'
    ? 'lost'
    : failure.kind === 'error'
      ? 'failed'
      : 'busy'
}

function freeSlots(nodes: readonly LinkedNode[]): ReadonlyMap<string, number> {
  const free = new Map<string, number>()
  for (const { replicas } of nodes) {
    for (const replica of replicas)
      free.set(replica.model.model, (free.get(replica.model.model) ?? 0) + replica.free)
  }
  return free
}
