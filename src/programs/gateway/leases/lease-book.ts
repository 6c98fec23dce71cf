/**
 * The lease book of one gateway: the open deployments it looks after, and the nodes that run them. Of several gateways
 * over one store each deployment belongs to one at a time, until that one is silent. What tenants ask is answered by
 * `deployments.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, SECOND } from '../../../core/base/time.ts'
import { deploymentIsOver } from '../../../core/market/deployment-life.ts'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type {
  DeploymentRecord,
  LeaseRecord,
  StoredDeployment,
} from '../../../io/store/deployment-records.ts'
import { ActiveLease } from './active-lease.ts'
import type { LeaseFile } from './lease-file.ts'
import { Kin } from './kin.ts'
import type { LeaseHosts } from './lease-hosts.ts'
import { meterLeases, type LeaseMeter } from './lease-meter.ts'
import type { LeaseParts } from './lease-parts.ts'
import { watchForLoss, type LossWatch } from './node-loss.ts'

/** How long a gateway may be silent before another looks after its deployments. */
export const CLAIM_MS = 15 * SECOND
const CLAIM_EVERY_MS = 5 * SECOND
const SNAPSHOT_LOOK_MS = 15 * SECOND
/** How often followers look for news of what another gateway looks after. */
const LOOK_ELSEWHERE_MS = SECOND
const SWEEP_MS = MINUTE
/** Money of a lease whose gateway is gone for good comes back after so long. */
export const HOLD_MS = 60 * MINUTE

export type BookParts = Omit<LeaseParts, 'changed' | 'stale' | 'signal' | 'pause'> & {
  readonly hosts: LeaseHosts
  readonly kin: Kin
  /** Of all nodes that are linked. */
  readonly links: () => Iterable<NodeLink>
  readonly linkedNodes: () => number
}

export class LeaseBook {
  readonly active = new Map<string, ActiveLease>()
  readonly #parts: BookParts
  readonly #leaseParts: LeaseParts
  readonly #meter: LeaseMeter
  readonly #losses: LossWatch
  readonly #ending = new AbortController()
  readonly #watchers = new Map<string, Set<() => void>>()
  readonly #claims: NodeJS.Timeout
  readonly #lookElsewhere: NodeJS.Timeout
  readonly #snapshots: NodeJS.Timeout
  /** Links on which our own leases were told. */
  readonly #kept = new WeakSet<NodeLink>()
  readonly #sweeps: NodeJS.Timeout
  #takingSnapshots = false
  #claiming: Promise<void> = Promise.resolve()
  #nextClaim: Promise<void> | null = null
  #elsewhere: ReadonlyMap<string, LeaseRecord> = new Map()
  /** Links on which a list is on its way. */
  readonly #keeping = new Set<NodeLink>()
  /** Closed since the last claim was read. */
  readonly #gone = new Set<string>()

  constructor(parts: BookParts) {
    this.#parts = parts
    this.#leaseParts = {
      ...parts,
      signal: this.#ending.signal,
      changed: (lease) => this.#changed(lease),
      stale: (lease) => {
        this.#letGo(lease.id)
        void this.claim()
      },
      pause: (ms) => pause(ms, this.#ending.signal),
    }
    this.#meter = meterLeases(parts, () => this.active.values())
    this.#losses = watchForLoss({
      ...parts,
      lost: (node, lastHeardAt, why) => {
        for (const lease of this.active.values()) lease.nodeLost(node, lastHeardAt, why)
      },
    })
    this.#claims = setInterval(() => void this.claim(), CLAIM_EVERY_MS)
    this.#claims.unref()
    this.#lookElsewhere = setInterval(() => {
      const here = new Set([...this.active.values()].map(({ deployment }) => deployment.id))
      for (const id of this.#watchers.keys()) if (!here.has(id)) this.#tellWatchers(id)
    }, LOOK_ELSEWHERE_MS)
    this.#lookElsewhere.unref()
    this.#snapshots = setInterval(() => void this.takeSnapshots(), SNAPSHOT_LOOK_MS)
    this.#snapshots.unref()
    this.#sweeps = setInterval(() => void this.sweepSnapshots(), SWEEP_MS)
    this.#sweeps.unref()
  }

  /**
   * Takes up what this gateway looked after before, and what nobody looks after; says that it lives; lets go of what
   * another took while this one was silent. Resolves when that was done from now on: what is under way may have been read
   * before.
   */
  claim(): Promise<void> {
    this.#nextClaim ??= this.#claiming
      .then(() => {
        this.#nextClaim = null
        return this.#claim()
      })
      .catch((error: unknown) =>
        this.#parts.logger.warn('deployments not claimed', { error: reasonOf(error) }),
      )
    this.#claiming = this.#nextClaim
    return this.#nextClaim
  }

  async #claim(): Promise<void> {
    const { store, gateway, now, kin, links } = this.#parts
    const at = now()
    const before = [...this.active.keys()]
    this.#gone.clear()
    const claimed = await store.claimDeployments(gateway, at, at + CLAIM_MS)
    const ours = new Set(claimed.flatMap(({ leases }) => leases.map(({ id }) => id)))
    for (const id of before) if (!ours.has(id)) this.#letGo(id)
    for (const stored of claimed) this.adopt(stored)
    const holds = [...this.active.values()].flatMap(({ record }) => record.hold ?? [])
    await store.renewHolds(holds, at + HOLD_MS)
    await this.#showOthers()
    if (await kin.meet(at)) for (const link of links()) kin.tell(link)
  }

  /** Its open leases are this gateway's from now on. */
  adopt({ deployment, leases }: StoredDeployment): void {
    if (deploymentIsOver(leases)) void this.#endDeployment(deployment, leases[0]?.doc.message ?? '')
    for (const record of leases) {
      const known = this.active.get(record.id)
      if (known) known.compare(record)
      if (known || record.state === 'closed' || this.#gone.has(record.id)) continue
      const lease = new ActiveLease(this.#leaseParts, deployment, record)
      this.active.set(record.id, lease)
      this.#parts.hosts.update(lease)
      lease.resume()
      const link = record.node === null ? undefined : this.#parts.linkOf(record.node)
      if (link) {
        lease.linked(link)
        this.heartbeat(link)
      } else if (record.node !== null) this.#losses.expect(record.node)
    }
  }

  /** Visitors may come here, too, for what other gateways look after. */
  async #showOthers(): Promise<void> {
    const { store, gateway, hosts } = this.#parts
    const others = new Map((await store.leasesElsewhere(gateway)).map((one) => [one.id, one]))
    for (const [id, record] of this.#elsewhere)
      if (!others.has(id) && !this.active.has(id)) hosts.update({ record, open: false })
    for (const [id, record] of others)
      if (!this.active.has(id)) hosts.update({ record, open: true })
    this.#elsewhere = others
  }

  #letGo(id: string): void {
    this.active.get(id)?.letGo()
    this.active.delete(id)
  }

  /** What this gateway knows of a lease is newer than what was read. */
  fresh(lease: LeaseRecord): LeaseRecord {
    return this.active.get(lease.id)?.record ?? lease
  }

  /** Whose open lease it is; null: none of this gateway's. */
  readonly tenantOf = (lease: string): string | null =>
    this.active.get(lease)?.record.account ?? null

  get count(): { open: number; homeless: number } {
    let homeless = 0
    for (const { record } of this.active.values()) if (record.node === null) homeless += 1
    return { open: this.active.size, homeless }
  }

  /** Calls back when something about the deployment changed; returns what stops that. */
  watch(deployment: string, changed: () => void): () => void {
    const all = this.#watchers.get(deployment) ?? new Set()
    this.#watchers.set(deployment, all.add(changed))
    return () => {
      all.delete(changed)
      if (all.size === 0) this.#watchers.delete(deployment)
    }
  }

  linked(link: NodeLink): void {
    this.#parts.market.set(link)
    this.#parts.market.holds(link)
    this.#losses.linked(link.node)
    if (!link.offer.leases) return
    this.#parts.kin.tell(link)
    void this.#sendKeep(link)
    for (const lease of this.active.values()) lease.look()
  }

  /** Another offer, or it drains. */
  offerChanged(link: NodeLink): void {
    this.#parts.market.set(link)
    // A node may offer leases only once its container engine has answered.
    this.#parts.kin.tell(link)
    for (const lease of this.active.values()) lease.linked(link)
    this.heartbeat(link)
  }

  /** What it says is free counts once our own leases there are known: before, they would count twice. */
  heartbeat(link: NodeLink): void {
    this.#parts.market.holds(link)
    if (this.#kept.has(link)) this.#parts.market.heard(link)
  }

  unlinked(link: NodeLink, reason: string): void {
    this.#parts.market.remove(link.node)
    this.#losses.unlinked(link, reason)
  }

  report(link: NodeLink, report: LeaseReport): void {
    if (report.kind === 'bid' || report.kind === 'no_bid')
      return this.#parts.market.answer(link, report)
    const lease = this.active.get(report.lease)
    if (lease) lease.report(link, report)
    else if (report.kind === 'status' && !this.#keeping.has(link)) void this.#sendKeep(link)
  }

  /** Of those whose time has come, one after the other: each is as large as its volume. */
  async takeSnapshots(): Promise<void> {
    if (this.#takingSnapshots) return
    this.#takingSnapshots = true
    const { volumes, now, linkOf } = this.#parts
    for (const lease of this.active.values()) {
      const { node } = lease.record
      const link = node === null ? undefined : linkOf(node)
      if (link && volumes.isDue(lease.record, now())) await lease.takeSnapshots(link)
    }
    this.#takingSnapshots = false
  }

  /** Removes the snapshots whose time is over; it does so by itself every minute. */
  async sweepSnapshots(): Promise<void> {
    const { volumes, logger } = this.#parts
    try {
      await volumes.sweep()
    } catch (error) {
      logger.warn('snapshots not removed', { error: reasonOf(error) })
    }
  }

  /** Bills what is due now; it does so by itself every few seconds. */
  bill(): Promise<void> {
    return this.#meter.bill()
  }

  /** Bills what is due and lets go; leases run on, and are found again. */
  async close(): Promise<void> {
    clearInterval(this.#claims)
    clearInterval(this.#lookElsewhere)
    clearInterval(this.#snapshots)
    clearInterval(this.#sweeps)
    this.#losses.close()
    this.#meter.close()
    await this.#meter.bill()
    this.#ending.abort()
  }

  /**
   * What runs at this node by the store's word; what else runs there for this gateway is stale. Also when the node tells
   * of a lease that is not in this book: another gateway may have moved it.
   */
  async #sendKeep(link: NodeLink): Promise<void> {
    const { store, linkOf, logger } = this.#parts
    this.#keeping.add(link)
    while (!this.#ending.signal.aborted && linkOf(link.node) === link) {
      try {
        // While this gateway was away another may have taken what it thinks is its own.
        await this.claim()
        const placed = (await store.placedLeases()).filter(({ node }) => node === link.node)
        const leases = placed.flatMap(({ id, doc }) =>
          doc.ownerEpoch === null ? [] : [{ lease: id, epoch: doc.ownerEpoch }],
        )
        link.lease({ kind: 'keep', leases })
        for (const lease of this.active.values()) lease.linked(link)
        this.#kept.add(link)
        this.heartbeat(link)
        break
      } catch (error) {
        // Better late than wrong: nothing is stopped for a list that could not be read.
        logger.warn('leases not told', { node: link.node, error: reasonOf(error) })
        await this.#leaseParts.pause(SECOND)
      }
    }
    this.#keeping.delete(link)
  }

  #changed(lease: LeaseFile): void {
    const { deployment, record, open } = lease
    this.#parts.hosts.update(lease)
    const all = [...this.active.values()].filter((one) => one.deployment.id === deployment.id)
    if (!open) {
      this.active.delete(lease.id)
      this.#gone.add(lease.id)
      if (deploymentIsOver(all)) void this.#endDeployment(deployment, record.doc.message)
    }
    this.#tellWatchers(deployment.id)
  }

  #tellWatchers(deployment: string): void {
    for (const changed of this.#watchers.get(deployment) ?? []) changed()
  }

  /** When its last lease is closed, the deployment is. */
  async #endDeployment({ id }: DeploymentRecord, message: string): Promise<void> {
    const { store, now, logger } = this.#parts
    const at = now()
    const event = { at, type: 'deployment.closed', lease: null, service: null, message }
    try {
      await store.changeDeployment(id, { closedAt: at, closeReason: message }, [event])
    } catch (error) {
      // The next claim finds it, and closes it.
      logger.warn('deployment not closed', { id, error: reasonOf(error) })
    }
    this.#tellWatchers(id)
  }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal, ref: false }).catch(() => {})
