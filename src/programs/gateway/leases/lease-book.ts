/**
 * The lease book of one gateway: the open deployments it looks after, and the nodes that run them. Of several gateways
 * over one store each deployment belongs to one at a time, until that one is silent. What tenants ask is answered by
 * `deployments.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, SECOND } from '../../../core/base/time.ts'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { LeaseRecord, StoredDeployment } from '../../../io/store/deployment-records.ts'
import { ActiveLease } from './active-lease.ts'
import type { LeaseFile } from './lease-file.ts'
import type { LeaseHosts } from './lease-hosts.ts'
import { meterLeases, type LeaseMeter } from './lease-meter.ts'
import type { LeaseParts } from './lease-parts.ts'
import { watchForLoss, type LossWatch } from './node-loss.ts'

/** How long a gateway may be silent before another looks after its deployments. */
export const CLAIM_MS = 15 * SECOND
const CLAIM_EVERY_MS = 5 * SECOND
const SNAPSHOT_LOOK_MS = 15 * SECOND
/** Money of a lease whose gateway is gone for good comes back after so long. */
export const HOLD_MS = 60 * MINUTE

export type BookParts = Omit<LeaseParts, 'changed' | 'signal' | 'pause'> & {
  readonly hosts: LeaseHosts
  /** All that are linked. */
  readonly nodes: () => readonly NodeLink[]
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
  readonly #snapshots: NodeJS.Timeout
  /** Links on which our own leases were told. */
  readonly #kept = new WeakSet<NodeLink>()
  #takingSnapshots = false

  constructor(parts: BookParts) {
    this.#parts = parts
    this.#leaseParts = {
      ...parts,
      signal: this.#ending.signal,
      changed: (lease) => this.#changed(lease),
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
    this.#snapshots = setInterval(() => void this.takeSnapshots(), SNAPSHOT_LOOK_MS)
    this.#snapshots.unref()
  }

  /** Takes up what this gateway looked after before, and what nobody looks after; says that it lives. */
  async claim(): Promise<void> {
    const { store, gateway, now, logger } = this.#parts
    try {
      const at = now()
      for (const stored of await store.claimDeployments(gateway, at, at + CLAIM_MS))
        this.adopt(stored)
      const holds = [...this.active.values()].flatMap(({ record }) => record.hold ?? [])
      await store.renewHolds(holds, at + HOLD_MS)
    } catch (error) {
      logger.warn('deployments not claimed', { error: reasonOf(error) })
    }
  }

  /** Its open leases are this gateway's from now on. */
  adopt({ deployment, leases }: StoredDeployment): void {
    for (const record of leases) {
      if (record.state === 'closed' || this.active.has(record.id)) continue
      const lease = new ActiveLease(this.#leaseParts, deployment, record)
      this.active.set(record.id, lease)
      this.#parts.hosts.update(lease)
      const link = record.node === null ? undefined : this.#parts.linkOf(record.node)
      if (link) lease.linked(link)
      else if (record.node !== null) this.#losses.expect(record.node)
      lease.resume()
    }
  }

  /** What this gateway knows of a lease is newer than what was read. */
  fresh(lease: LeaseRecord): LeaseRecord {
    return this.active.get(lease.id)?.record ?? lease
  }

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
    void this.#sendKeep(link)
    for (const lease of this.active.values()) lease.look()
  }

  /** Another offer, or it drains. */
  offerChanged(link: NodeLink): void {
    this.#parts.market.set(link)
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
    if (report.kind === 'bid' || report.kind === 'no_bid') this.#parts.market.answer(link, report)
    else this.active.get(report.lease)?.report(link, report)
  }

  /** Of those whose time has come, one after the other: each is as large as its volume. */
  async takeSnapshots(): Promise<void> {
    if (this.#takingSnapshots) return
    this.#takingSnapshots = true
    const { volumes, now, linkOf } = this.#parts
    for (const { record } of this.active.values()) {
      const link = record.node === null ? undefined : linkOf(record.node)
      if (link && volumes.isDue(record, now())) await volumes.take(link, record, now())
    }
    this.#takingSnapshots = false
  }

  /** Bills what is due now; it does so by itself every few seconds. */
  bill(): Promise<void> {
    return this.#meter.bill()
  }

  /** Bills what is due and lets go; leases run on, and are found again. */
  async close(): Promise<void> {
    clearInterval(this.#claims)
    clearInterval(this.#snapshots)
    this.#losses.close()
    this.#meter.close()
    await this.#meter.bill()
    this.#ending.abort()
  }

  /** What runs at this node by the store's word; what else runs there for this gateway is stale. */
  async #sendKeep(link: NodeLink): Promise<void> {
    const { store, linkOf, logger } = this.#parts
    while (!this.#ending.signal.aborted && linkOf(link.node) === link) {
      try {
        const placed = (await store.placedLeases()).filter(({ node }) => node === link.node)
        const leases = placed.flatMap(({ id, doc }) =>
          doc.ownerEpoch === null ? [] : [{ lease: id, epoch: doc.ownerEpoch }],
        )
        link.lease({ kind: 'keep', leases })
        for (const lease of this.active.values()) lease.linked(link)
        this.#kept.add(link)
        this.heartbeat(link)
        return
      } catch (error) {
        // Better late than wrong: nothing is stopped for a list that could not be read.
        logger.warn('leases not told', { node: link.node, error: reasonOf(error) })
        await this.#leaseParts.pause(SECOND)
      }
    }
  }

  #changed(lease: LeaseFile): void {
    this.#parts.hosts.update(lease)
    if (!lease.open) {
      this.active.delete(lease.id)
      void this.#endDeployment(lease)
    }
    this.#tellWatchers(lease.deployment.id)
  }

  #tellWatchers(deployment: string): void {
    for (const changed of this.#watchers.get(deployment) ?? []) changed()
  }

  /** When its last lease is closed, the deployment is. */
  async #endDeployment({ record, deployment }: LeaseFile): Promise<void> {
    const { store, now, logger } = this.#parts
    for (const one of this.active.values()) if (one.deployment.id === deployment.id) return
    const at = now()
    const { message } = record.doc
    const event = { at, type: 'deployment.closed', lease: null, service: null, message }
    try {
      await store.changeDeployment(deployment.id, { closedAt: at, closeReason: message }, [event])
    } catch (error) {
      logger.warn('deployment not closed', { id: deployment.id, error: reasonOf(error) })
    }
    this.#tellWatchers(deployment.id)
  }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal, ref: false }).catch(() => {})
