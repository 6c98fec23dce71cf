/**
 * One lease's record: changed only by the decisions of its life, in the store first and then here; paid; and what is told
 * of it to tenant and node.
 */
import { Fault, isRefusal, reasonOf, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import {
  decide,
  evolve,
  hasOwner,
  type LeaseCommand,
  type LeaseEvent,
  type LeaseLife,
} from '../../../core/market/lease-life.ts'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type {
  DeploymentRecord,
  LeaseChange,
  LeaseDoc,
  LeasePayment,
  LeaseRecord,
  NewDeploymentEvent,
} from '../../../io/store/deployment-records.ts'
import { sealedFor } from '../../../core/protocol/secrets.ts'
import { afterPayment, paymentUntil } from './lease-dues.ts'
import type { LeaseParts } from './lease-parts.ts'
import { changeOf, lifeOf, memoryOf, NO_MEMORY, wordsOf } from './lease-state.ts'
import { giveVolumes, whyNotReadable } from './volume-return.ts'

/** What is to run. */
export type Plan = Pick<LeaseDoc, 'group' | 'manifest' | 'secrets'>

export const NOBODY: ReadonlySet<string> = new Set()

/** How long a stopped lease's containers have to end. */
const GRACE_S = 10

/** Nobody pays for the time that they take. */
const LAST_SNAPSHOTS_MS = 120_000

type LeaseEventReport = Extract<LeaseReport, { kind: 'event' }>

export class LeaseFile {
  readonly deployment: DeploymentRecord
  record: LeaseRecord
  protected readonly parts: LeaseParts
  #memory = NO_MEMORY
  /** What was said last of its snapshots: it is not said again and again. */
  #volumeTrouble = ''

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

  get life(): LeaseLife {
    return lifeOf(this.record, this.#memory)
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

  /**
   * What the command brings about, committed; a refusal when it is not its time. `doc` and `news` go into the same
   * commit. An owner that goes is paid first, until `heardAt` at most.
   */
  protected async decide(
    command: LeaseCommand,
    more: {
      readonly doc?: Partial<LeaseDoc>
      readonly news?: readonly NewDeploymentEvent[]
      readonly heardAt?: Millis
    } = {},
  ): Promise<readonly LeaseEvent[] | Refusal> {
    const at = this.parts.now()
    const events = decide(this.life, command, at)
    if (isRefusal(events) || (events.length === 0 && !more.doc)) return events
    const { before, after } = this.#evolved(events)
    const owner = hasOwner(after) ? after.owner.epoch : null
    if (hasOwner(before) && before.owner.epoch !== owner) await this.#settle(more.heardAt ?? at)
    const change = changeOf(before, after, events, this.record)
    const told = events.flatMap((event) => {
      const message = wordsOf(event, { spentNanoUsd: this.record.spentNanoUsd, at })
      return message === null ? [] : this.told(event.type, message)
    })
    const doc = { ...change.doc, ...more.doc }
    await this.#change({ ...change, doc }, [...told, ...(more.news ?? [])])
    this.#memory = memoryOf(after)
    return events
  }

  #evolved(events: readonly LeaseEvent[]): { before: LeaseLife; after: LeaseLife } {
    const before = this.life
    return { before, after: events.reduce(evolve, before) }
  }

  /** Pays until `at`, but not beyond what the node was heard. */
  async #settle(at: Millis): Promise<void> {
    const { node } = this.record
    const heard = node === null ? at : (this.parts.linkOf(node)?.lastHeardAt ?? at)
    const payment = paymentUntil(this.record, Math.min(at, heard))
    if (!payment) return
    const [outcome] = await this.parts.store.payLeases([payment])
    if (outcome?.paid) this.paid(payment)
  }

  async #change(change: LeaseChange, events: readonly NewDeploymentEvent[]): Promise<void> {
    const { id, revision } = this.record
    const changed = await this.parts.store.changeLease(id, revision, change, events)
    if (changed === null) {
      this.parts.stale(this)
      throw new Fault('lease_changed', `another gateway changed ${id}; this one looks away`)
    }
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

  /** A snapshot of each of its volumes. Never rejects: the tenant is told what does not work. */
  async takeSnapshots(link: NodeLink): Promise<void> {
    const problems = await this.parts.volumes.take(link, this.record)
    await this.#tellTrouble('snapshot.failed', problems.join('; '))
  }

  /** What a tenant without money can still fetch. */
  protected async takeLastSnapshots(link: NodeLink): Promise<void> {
    await Promise.race([this.takeSnapshots(link), this.parts.pause(LAST_SNAPSHOTS_MS)])
  }

  /** Whether what its volumes held can be brought to this node just now, or lies there. */
  protected async canBringVolumes(node: string): Promise<boolean> {
    if (node === this.record.node) return true
    const why = await whyNotReadable(this.parts.volumes, this.record)
    const told = why === null ? '' : `it waits for its snapshots: ${why}`
    await this.#tellTrouble('volumes.unreachable', told)
    return why === null
  }

  /** What its volumes held at their last snapshot, before anything runs there. */
  protected async bringVolumes(link: NodeLink): Promise<void> {
    for (const { type, message } of await giveVolumes(this.parts.volumes, link, this.record))
      await this.tell(type, message).catch((error: unknown) =>
        this.parts.logger.warn('not told', { lease: this.id, type, error: reasonOf(error) }),
      )
  }

  async #tellTrouble(type: string, trouble: string): Promise<void> {
    if (trouble === this.#volumeTrouble) return
    this.#volumeTrouble = trouble
    if (trouble === '') return
    await this.tell(type, trouble).catch((error: unknown) =>
      this.parts.logger.warn('not told', { lease: this.id, type, error: reasonOf(error) }),
    )
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
