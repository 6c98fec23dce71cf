/**
 * One lease of this gateway's book, from its order to its end. `core/market/lease-life.ts` decides what becomes of it;
 * here each decision is committed before it is acted on: a node is told to run only what the store says is its own, under
 * an epoch that no other node was ever asked with.
 */
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { Funds } from '../../../core/market/deployment-life.ts'
import {
  avoidedNow,
  hasOwner,
  isEnding,
  isLeaving,
  keepsVolumes,
  type LeaseCommand,
} from '../../../core/market/lease-life.ts'
import { groupText, noticeMsOf } from '../../../core/protocol/lease.ts'
import type { LeaseState, LeaseWord } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { DeploymentRecord, LeaseRecord } from '../../../io/store/deployment-records.ts'
import type { Plan } from './lease-file.ts'
import { LeasePlacing } from './lease-placing.ts'
import type { LeaseParts } from './lease-parts.ts'
import { isSealedFor } from './lease-secrets.ts'
import { gpusOf } from './lease-state.ts'
import { Turns } from './turns.ts'

/** A group that no node takes just now is tried again when the network changes, and at least so often. */
const RETRY_MS = 5_000
type Report<K extends LeaseWord['kind']> = Extract<LeaseWord, { kind: K }>

export class ActiveLease extends LeasePlacing {
  readonly #turns: Turns
  #again: NodeJS.Timeout | null = null
  #whenStopped: (() => void) | null = null
  readonly #hold: string | null
  #closing = false
  #letGo = false

  constructor(parts: LeaseParts, deployment: DeploymentRecord, record: LeaseRecord) {
    super(parts, deployment, record)
    this.#hold = record.hold
    this.#turns = new Turns(parts, record.id)
  }

  get state(): LeaseState {
    return this.record.state
  }

  /** Finds a node for it and has it run there; goes on trying until it has one or is closed. */
  place(): void {
    this.#rest()
    void this.#turns.take(() => this.#place())
  }

  /** Something about the network changed: a lease that waits looks again. */
  readonly look = (): void => {
    if (this.#again) this.place()
  }

  /** After a start of this gateway: what was under way is taken up where it stood. */
  resume(): void {
    const { life } = this
    if (isEnding(life)) {
      this.#closing = true
      void this.#turns.take(() => this.#end())
    } else if (!hasOwner(life) || isLeaving(life)) this.place()
  }

  /** Another gateway looks after it from now on. */
  letGo(): void {
    this.#letGo = true
    this.#rest()
    this.asking.drop()
    this.#whenStopped?.()
    this.parts.market.release(this.id)
  }

  /** As the store has it: another gateway may have had it while this one was silent. Its own changes are done by then. */
  compare(stored: LeaseRecord): void {
    if (!isNewer(stored, this.record)) return
    void this.#turns.take(() => {
      if (isNewer(stored, this.record)) this.parts.stale(this)
      return Promise.resolve()
    })
  }

  /** The node is there (again): it is told what to run, which changes nothing where it runs already. */
  linked(link: NodeLink): void {
    const { node, doc } = this.record
    if (node !== link.node || !this.open || this.#closing) return
    this.parts.market.occupy(this.id, doc.group, node, gpusOf(doc))
    this.sendRun(link)
  }

  /** What a node says of it. Whoever speaks under another epoch has lost it, and is told so. */
  report(link: NodeLink, report: LeaseWord): void {
    const owns = this.isOwner(link, report.epoch)
    switch (report.kind) {
      case 'accepted':
      case 'refused':
        if (!this.asking.answer(link, report) && report.kind === 'accepted' && !owns)
          this.sendStop(link, report.epoch, 'the answer came too late')
        return
      case 'stopped':
        if (owns) this.#stopped(link, report)
        return
      case 'status':
      case 'event':
      case 'leaving':
        if (!owns) this.sendStop(link, report.epoch, 'another node has this lease by now')
        else void this.#turns.take(() => this.#hear(link, report))
    }
  }

  /** The node is gone since `heardAt`: it earns nothing after that, and the order opens again. */
  nodeLost(node: string, heardAt: Millis, why: string): void {
    void this.#turns.take(async () => {
      if (this.over || this.parts.linkOf(node)) return
      await this.#lose({ type: 'lose', node, why: `${node} was lost: ${why}` }, heardAt)
    })
  }

  /**
   * Another manifest, and perhaps other resources or another price: an amended bid, at the same node where it has room.
   * False when no node takes the new terms: then it runs on as it is.
   */
  async update(plan: Plan): Promise<boolean> {
    let taken = false
    await this.#turns.take(async () => {
      if (this.over) return
      const { doc, node } = this.record
      const same = groupText(plan.group) === groupText(doc.group) && isSealedFor(plan, node)
      taken = node !== null && !same ? await this.#amend(node, plan) : await this.#replace(plan)
    })
    return taken
  }

  close(reason: string): Promise<void> {
    this.#closing = true
    this.#rest()
    this.asking.drop()
    return this.#turns.take(async () => {
      await this.decide({ type: 'leave', by: 'tenant', reason })
      await this.#end()
    })
  }

  /** The tenant takes this node's bid, where the rule is `manual`. Null when the node has it now. */
  async accept(node: string): Promise<Refusal | null> {
    let refusal: Refusal | null = refuse('conflict', 'The lease is being closed.')
    await this.#turns.take(async () => {
      if (this.over) return
      const { doc } = this.record
      if (this.record.node !== null || this.deployment.rule !== 'manual') {
        refusal = refuse('conflict', `The lease is ${this.state}: it waits for no choice.`)
        return
      }
      const candidate = await this.bidAt(node, doc, { seen: true })
      const taken = candidate !== null && (await this.offer(candidate, doc))
      const why = `${node} does not take it just now. 'baseload bids' lists who may.`
      refusal = taken ? null : refuse('no_matching_node', why)
    })
    return refusal
  }

  /** What a bill left of its money: the tenant is warned, and what cannot be paid ends after a grace. */
  bill(funds: Funds): void {
    void this.#turns.take(async () => {
      await this.decide({ type: 'bill', funds })
      if (this.open && !isEnding(this.life)) return
      this.#closing = true
      await this.#end()
    })
  }

  // Placing.

  protected override get over(): boolean {
    return this.#closing || this.#letGo || this.parts.signal.aborted
  }

  #rest(): void {
    if (this.#again) clearTimeout(this.#again)
    this.#again = null
  }

  /** One round. It waits for the next one outside of its turn, so that it can be changed and closed meanwhile. */
  async #place(): Promise<void> {
    await this.#lose({ type: 'look' })
    const { life, record } = this
    const leaves = isLeaving(life)
    if (this.over || (hasOwner(life) && !leaves)) return
    const avoid = avoidedNow(life, this.parts.now())
    const taken = leaves
      ? await this.move(life.owner.node, record.doc, 'it moved before its provider leaves')
      : this.deployment.rule !== 'manual' && (await this.offerAround(record.doc, avoid))
    if (taken || this.over) return
    await this.decide({ type: 'give-up', why: this.whyNobody() })
    await this.tellIfStranded()
    this.#again ??= setTimeout(() => this.place(), RETRY_MS).unref()
  }

  // Changing.

  /** The same terms, or none yet: the node is only told what to run. */
  async #replace({ group, manifest, secrets }: Plan): Promise<boolean> {
    const { node, doc } = this.record
    const news = secrets === doc.secrets ? [] : [this.told('secrets.updated', 'new secrets')]
    const more = { doc: { group, manifest, secrets }, news }
    if (isRefusal(await this.decide({ type: 'update' }, more))) return false
    this.unstranded()
    const link = node === null ? null : this.parts.linkOf(node)
    if (link) this.sendRun(link)
    // Others may take what it is now.
    if (node === null) this.place()
    return true
  }

  /** The node that runs it is asked first; where it has no room the lease moves, and the old copy is stopped. */
  async #amend(node: string, plan: Plan): Promise<boolean> {
    const { market } = this.parts
    market.release(this.id)
    const here = await this.bidAt(node, plan, { seen: false })
    if (here && (await this.offer(here, plan))) return true
    if (await this.move(node, plan, 'it moved to another node for its new terms')) return true
    const old = this.parts.linkOf(node)
    if (old) this.linked(old)
    await this.decide({ type: 'give-up', why: '' })
    return false
  }

  // What its node says.

  async #hear(link: NodeLink, report: Report<'status' | 'event' | 'leaving'>): Promise<void> {
    if (report.kind === 'event') return await this.note(report)
    if (this.over) return
    if (report.kind === 'status') return await this.#status(link, report)
    const { epoch, reason } = report
    const noticeMs = noticeMsOf(this.record.doc.terms)
    const speaker = { node: link.node, epoch }
    const events = await this.decide({ type: 'give-notice', ...speaker, noticeMs, reason })
    if (isRefusal(events) || events.length === 0) return
    this.anotherOrder()
    this.place()
  }

  async #status(link: NodeLink, report: Report<'status'>): Promise<void> {
    const { epoch, phase, message, replicas } = report
    const { doc } = this.record
    const command = { type: 'report' as const, node: link.node, epoch, phase, message }
    if (phase === 'failed' && doc.startedAt === null) return await this.#lose(command)
    const same =
      doc.message === message && JSON.stringify(doc.replicas) === JSON.stringify(replicas)
    const pulls = phase === 'pulling' && this.state === 'starting' && doc.message !== message
    const news = pulls ? [this.told('lease.pulling', message)] : []
    // Why it ends stays readable until it has.
    const words = this.state === 'draining' ? {} : { message }
    await this.decide(command, same ? {} : { doc: { ...words, replicas }, news })
  }

  #stopped(link: NodeLink, { epoch, reason: why }: Report<'stopped'>): void {
    if (this.#whenStopped) this.#whenStopped()
    else
      void this.#turns.take(async () => {
        if (!this.over) await this.#lose({ type: 'stopped', node: link.node, epoch, why })
      })
  }

  // Ending.

  /** Its node may have it no more after this command. Then it is told to stop, and another is looked for. */
  async #lose(command: LeaseCommand, heardAt?: Millis): Promise<void> {
    const events = await this.decide(command, heardAt === undefined ? {} : { heardAt })
    for (const event of isRefusal(events) ? [] : events) {
      if (event.type !== 'node.lost') continue
      this.parts.market.release(this.id)
      this.anotherOrder()
      const link = this.parts.linkOf(event.lost.node)
      if (link && command.type !== 'stopped') this.sendStop(link, event.lost.epoch, event.why)
      if (command.type !== 'look') this.place()
    }
    if (!this.open) await this.#closed()
  }

  /** Told to end: its node has its time to stop it. */
  async #end(): Promise<void> {
    const { life, parts } = this
    if (!isEnding(life)) return this.open ? undefined : await this.#closed()
    const { owner, until, reason } = life
    const link = parts.linkOf(owner.node)
    if (link) {
      const leftMs = Math.max(0, until - parts.now())
      if (keepsVolumes(life)) await this.takeLastSnapshots(link)
      const stopped = new Promise<void>((resolve) => (this.#whenStopped = resolve))
      this.sendStop(link, owner.epoch, reason, keepsVolumes(life))
      await Promise.race([stopped, parts.pause(leftMs)])
      this.#whenStopped = null
      if (this.#letGo || parts.signal.aborted) return
    }
    await this.#lose({ type: 'lose', node: owner.node, why: reason })
  }

  /** Once more is fine: after a fault it is done from its beginning. */
  async #closed(): Promise<void> {
    const { market, store, volumes } = this.parts
    market.release(this.id)
    if (this.#hold !== null) await store.closeHold(this.#hold)
    volumes.forget(this.id)
  }
}

/** Payments change no revision. */
const isNewer = (one: LeaseRecord, than: LeaseRecord): boolean =>
  one.revision > than.revision || (one.billedUntil ?? 0) > (than.billedUntil ?? 0)
