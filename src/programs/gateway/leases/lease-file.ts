/** One lease's record: changed only in the store first, and then here; paid; and what is told of it to tenant and node. */
import { Fault } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type {
  DeploymentRecord,
  LeaseDoc,
  LeaseChange,
  LeasePayment,
  LeaseRecord,
  NewDeploymentEvent,
} from '../../../io/store/deployment-records.ts'
import { sealedFor } from '../../../core/protocol/secrets.ts'
import { afterPayment, paymentUntil } from './lease-dues.ts'
import type { Wish } from './lease-market.ts'
import type { LeaseParts } from './lease-parts.ts'
import { openersOf } from './lease-secrets.ts'

/** What is to run. */
export type Plan = Pick<LeaseDoc, 'group' | 'manifest' | 'secrets'>

export const NOBODY: ReadonlySet<string> = new Set()

/** How long a stopped lease's containers have to end. */
const GRACE_S = 10

type LeaseEventReport = Extract<LeaseReport, { kind: 'event' }>

export class LeaseFile {
  readonly deployment: DeploymentRecord
  record: LeaseRecord
  protected readonly parts: LeaseParts
  #saidStranded = false

  constructor(parts: LeaseParts, deployment: DeploymentRecord, record: LeaseRecord) {
    this.parts = parts
    this.deployment = deployment
    this.record = record
  }

  get id(): string {
    return this.record.id
  }

  get open(): boolean {
    return this.record.state !== 'closed'
  }

  /** What is owed until the node was last heard; null when nothing is billed or no time has passed. */
  due(now: Millis): LeasePayment | null {
    const { node } = this.record
    const link = node === null ? undefined : this.parts.linkOf(node)
    return link ? paymentUntil(this.record, Math.min(now, link.lastHeardAt)) : null
  }

  /** The store took this payment. */
  paid(payment: LeasePayment): void {
    this.record = afterPayment(this.record, payment)
  }

  /** Pays until `at`, but not beyond what the node was heard. */
  protected async settle(at: Millis): Promise<void> {
    const { node } = this.record
    const heard = node === null ? at : (this.parts.linkOf(node)?.lastHeardAt ?? at)
    const payment = paymentUntil(this.record, Math.min(at, heard))
    if (!payment) return
    const [outcome] = await this.parts.store.payLeases([payment])
    if (outcome?.paid) this.paid(payment)
  }

  protected async change(
    change: Partial<LeaseChange>,
    events: readonly NewDeploymentEvent[],
  ): Promise<void> {
    const { id, revision, state, epoch, node, hold, doc } = this.record
    const wanted = { state, epoch, node, hold, doc, ...change }
    const changed = await this.parts.store.changeLease(id, revision, wanted, events)
    if (changed === null)
      throw new Fault('lease_changed', `another gateway changed ${id}; this one looks away`)
    this.record = changed
    this.parts.changed(this)
  }

  protected async tell(type: string, message: string): Promise<void> {
    await this.parts.store.addDeploymentEvents(this.record.deployment, [this.told(type, message)])
    this.parts.changed(this)
  }

  /** Something that its node says the tenant should read. */
  protected async note({ atMs: at, type, service, message }: LeaseEventReport): Promise<void> {
    const event = { at, type, lease: this.id, service, message }
    await this.parts.store.addDeploymentEvents(this.record.deployment, [event])
    this.parts.changed(this)
  }

  /** What its volumes held at their last snapshot, before anything runs there. */
  protected async bringVolumes(link: NodeLink): Promise<void> {
    const given = await this.parts.volumes.give(link, this.record)
    if (given > 0) await this.tell('volumes.restored', `${given} volumes from their last snapshot`)
  }

  protected wish(plan: Plan, avoid: ReadonlySet<string>): Wish {
    const { group, manifest } = plan
    const images = manifest.services.map(({ image }) => image)
    return { group, images, rule: this.deployment.rule, avoid, openers: openersOf(plan) }
  }

  /** Once: no node that can open its secrets takes it, and another would if it could. */
  protected async tellIfStranded(): Promise<void> {
    const { secrets } = this.record.doc
    const { market } = this.parts
    if (this.#saidStranded || secrets === null) return
    const wish = this.wish(this.record.doc, NOBODY)
    const there = market.openersThere(secrets)
    if (market.best(wish) !== null) return
    if (there > 0 && market.best({ ...wish, openers: 'any with a key' }) === null) return
    this.#saidStranded = true
    const sealed = Object.keys(secrets.keys).length
    await this.tell(
      'secrets.stranded',
      `its secrets were sealed for ${sealed} nodes, ${there} of them are linked and none takes it; give them again, for the nodes of today: baseload update ${this.deployment.name} --secrets <file>`,
    )
  }

  /** A node has it, or it has other secrets. */
  protected unstranded(): void {
    this.#saidStranded = false
  }

  protected told(type: string, message: string): NewDeploymentEvent {
    return { at: this.parts.now(), type, lease: this.id, service: null, message }
  }

  protected isOwner(link: NodeLink, epoch: number): boolean {
    const { node, doc } = this.record
    return node === link.node && doc.ownerEpoch === epoch && this.open
  }

  protected sendRun(link: NodeLink): void {
    const { group, manifest, ownerEpoch: epoch, secrets: envelope } = this.record.doc
    const secrets = envelope && sealedFor(envelope, link.node)
    // Better not changed than run without its secrets.
    if (epoch === null || (envelope && !secrets)) return
    link.lease({ kind: 'run', lease: this.id, epoch, group, manifest, secrets })
  }

  protected sendStop(link: NodeLink, epoch: number, reason: string, keepVolumes = false): void {
    link.lease({ kind: 'stop', lease: this.id, epoch, graceS: GRACE_S, keepVolumes, reason })
  }
}
