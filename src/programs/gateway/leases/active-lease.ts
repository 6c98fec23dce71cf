/**
 * One lease of this gateway's book, from its order to its end. What it decides is committed before it acts: a node is
 * told to run only what the store says is its own, under an epoch that no other node was ever asked with.
 *
 *   ordered ──► bid (a node is asked, under a new epoch) ──► accepted ──► starting ──► running ⇄ degraded
 *      ▲              │ it says no, or nothing                              │ the node is lost
 *      └──────────────┴─────────────────────────────────────────────────────┘            draining ──► closed
 */
import { formatUsd } from '../../../core/base/money.ts'
import { priceFor } from '../../../core/base/rate.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { Purse } from '../../../core/market/deployment-life.ts'
import { groupText, type AcceptedLease } from '../../../core/protocol/lease.ts'
import type { LeaseState, LeaseWord } from '../../../core/protocol/lease-control.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type {
  DeploymentRecord,
  LeaseRecord,
  NewDeploymentEvent,
} from '../../../io/store/deployment-records.ts'
import { Asking } from './asking.ts'
import { LeaseFile } from './lease-file.ts'
import { LeaseAuction, NOBODY, type Plan } from './lease-auction.ts'
import type { Candidate } from './lease-market.ts'
import type { LeaseParts } from './lease-parts.ts'
import { Doorbell } from './doorbell.ts'
import { avoidedNow, gpusOf, stateOf } from './lease-state.ts'
import { Turns } from './turns.ts'

/** A group that no node takes just now is tried again when the network changes, and at least so often. */
const RETRY_MS = 5_000
/** Bids asked in one round: more have the same answer, and a round stays short. */
const MAX_ASKED = 16
/** A node that lost or refused this lease is not asked again so soon. */
const AVOID_MS = 5 * 60_000
/** After so many nodes could not start it the fault is in the lease. */
const MAX_FAILED_STARTS = 3
/** How long a node may take to say that it has stopped a lease. */
const STOPPED_MS = 30_000

type Report<K extends LeaseWord['kind']> = Extract<LeaseWord, { kind: K }>

export class ActiveLease extends LeaseFile {
  readonly #turns: Turns
  readonly #auction: LeaseAuction
  readonly #asking = new Asking()
  readonly #bell = new Doorbell()
  /** The bid that the tenant takes. */
  #choice: { readonly node: string; resolve(refusal: Refusal | null): void } | null = null
  #whenStopped: (() => void) | null = null
  #closing = false
  #saidWaiting = false

  constructor(parts: LeaseParts, deployment: DeploymentRecord, record: LeaseRecord) {
    super(parts, deployment, record)
    this.#turns = new Turns(parts, record.id)
    this.#auction = new LeaseAuction(parts.market, record.account, deployment.rule)
  }

  get state(): LeaseState {
    return this.record.state
  }

  /** Finds a node for it and has it run there; goes on trying until it has one or is closed. */
  place(): void {
    void this.#turns.take(() => this.#place())
  }

  /** Something about the network changed: a lease that waits looks again. */
  readonly look = (): void => this.#bell.ring()

  /** After a start of this gateway: what was under way is taken up where it stood. */
  resume(): void {
    if (this.state === 'draining') void this.close(this.record.doc.message)
    else if (this.record.node === null) this.place()
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
        if (!this.#asking.answer(link, report) && report.kind === 'accepted' && !owns)
          this.sendStop(link, report.epoch, 'the answer came too late')
        return
      case 'stopped':
        if (owns) this.#stopped(link, report)
        return
      case 'status':
      case 'event':
        if (!owns) this.sendStop(link, report.epoch, 'another node has this lease by now')
        else
          void this.#turns.take(() =>
            report.kind === 'status' ? this.#status(report) : this.note(report),
          )
    }
  }

  /** The node is gone since `lastHeardAt`: it earns nothing after that, and the order opens again. */
  nodeLost(node: string, lastHeardAt: Millis, why: string): void {
    void this.#turns.take(async () => {
      if (this.#closing || this.record.node !== node || this.parts.linkOf(node)) return
      await this.#lose(lastHeardAt, `${node} was lost: ${why}`)
      await this.#place()
    })
  }

  /**
   * Another manifest, and perhaps other resources or another price: an amended bid, at the same node where it has room.
   * False when no node takes the new terms: then it runs on as it is.
   */
  async update(plan: Plan): Promise<boolean> {
    let taken = false
    await this.#turns.take(async () => {
      if (!this.open || this.#closing) return
      const { doc, node } = this.record
      const same = groupText(plan.group) === groupText(doc.group)
      taken = node !== null && !same ? await this.#amend(node, plan) : await this.#replace(plan)
    })
    return taken
  }

  close(reason: string, keepVolumes = false): Promise<void> {
    this.#closing = true
    this.look()
    this.#asking.drop()
    return this.#turns.take(() => this.#close(reason, keepVolumes))
  }

  /** The tenant takes this node's bid, where the rule is `manual`. Null when the node has it now. */
  accept(node: string): Promise<Refusal | null> {
    if (this.record.node !== null || this.deployment.rule !== 'manual' || this.#choice)
      return Promise.resolve(
        refuse('conflict', `The lease is ${this.state}: it waits for no choice.`),
      )
    return new Promise((resolve) => {
      this.#choice = { node, resolve }
      this.look()
    })
  }

  /** Changes what the money's state is, and tells the tenant. */
  money(purse: Purse, type: string, message: string): void {
    void this.#turns.take(() =>
      this.change({ doc: { ...this.record.doc, purse } }, [this.told(type, message)]),
    )
  }

  // Placing.

  get #over(): boolean {
    return this.#closing || this.parts.signal.aborted
  }

  async #place(): Promise<void> {
    while (!this.#over && this.record.node === null) {
      const taken =
        this.deployment.rule === 'manual'
          ? await this.#offerChosen()
          : await this.#offerAround(this.record.doc, avoidedNow(this.record.doc, this.parts.now()))
      if (taken) return
      if (!this.#over) await this.#waitForMore()
    }
  }

  async #offerChosen(): Promise<boolean> {
    const choice = this.#choice
    if (!choice) return false
    this.#choice = null
    const { doc } = this.record
    const candidate = await this.#auction.at(choice.node, doc, { seen: true })
    const taken = candidate !== null && (await this.#offer(candidate, doc))
    const why = `${choice.node} does not take it just now. 'baseload bids' lists who may.`
    choice.resolve(taken ? null : refuse('no_matching_node', why))
    return taken
  }

  /** Asks one node after the other, best first; better one that failed before than none. True when one has taken it. */
  async #offerAround(plan: Plan, avoid: ReadonlySet<string>): Promise<boolean> {
    const answers = await this.#auction.programs(plan)
    for (const shunned of avoid.size > 0 ? [avoid, NOBODY] : [NOBODY]) {
      const asked = new Set(shunned)
      for (let round = 0; round < MAX_ASKED && !this.#over; round++) {
        const candidate = this.#auction.best(plan, asked, answers)
        if (!candidate) break
        if (await this.#offer(candidate, plan)) return true
        asked.add(candidate.placing.node)
      }
    }
    return false
  }

  async #waitForMore(): Promise<void> {
    if (!this.#saidWaiting) {
      this.#saidWaiting = true
      const why = this.#auction.whyNobody(this.record.doc)
      await this.tell('lease.waiting', `no node takes it now, and the order stands: ${why}`)
    }
    await this.#bell.wait(RETRY_MS)
  }

  /** Asks one node under an epoch of its own. True when it has the lease now. */
  async #offer(candidate: Candidate, plan: Plan): Promise<boolean> {
    const { node } = candidate.placing
    const { gateway, now, logger } = this.parts
    const link = this.parts.linkOf(node)
    if (!link) return false
    const epoch = this.record.epoch + 1
    await this.change(this.record.node === null ? { state: 'bid', epoch } : { epoch }, [])
    const { group } = plan
    const asked = await this.#asking.ask(link, {
      record: this.record,
      group,
      candidate,
      gateway,
      at: now(),
    })
    if ('why' in asked || this.#closing) {
      const why = 'why' in asked ? asked.why : 'the tenant closed it'
      logger.info('lease not taken', { lease: this.id, node, why })
      this.sendStop(link, epoch, why)
      return false
    }
    await this.#accepted(candidate, link, plan, asked)
    return true
  }

  async #accepted(
    { bid, placing }: Candidate,
    link: NodeLink,
    { group, manifest }: Plan,
    { terms, signature }: AcceptedLease,
  ): Promise<void> {
    await this.settle(this.parts.now())
    const { doc, epoch, node: before } = this.record
    const price = `$${formatUsd(priceFor(bid.rate, 'hour'))} an hour`
    const news = { rate: String(bid.rate), ownerEpoch: epoch, message: 'accepted' }
    await this.change(
      {
        state: 'accepted',
        node: link.node,
        billedUntil: null,
        doc: { ...doc, group, manifest, terms, signature, ...news, replicas: [], startedAt: null },
      },
      [this.told('lease.accepted', `${link.node} runs it for ${price}`)],
    )
    this.#saidWaiting = false
    this.parts.market.reserve(this.id, placing)
    this.parts.market.observe(group)
    if (before !== link.node) await this.bringVolumes(link)
    this.sendRun(link)
  }

  // Changing.

  /** The same terms, or none yet: the node is only told what to run. */
  async #replace({ group, manifest }: Plan): Promise<boolean> {
    const { doc, node, state: before } = this.record
    // Whoever waits for the change waits until the node says that it runs so.
    const state = before === 'running' ? 'degraded' : before
    await this.change({ state, doc: { ...doc, group, manifest } }, [
      this.told('lease.updated', 'a new manifest'),
    ])
    const link = node === null ? null : this.parts.linkOf(node)
    if (link) this.sendRun(link)
    return true
  }

  /** The node that runs it is asked first; where it has no room the lease moves, and the old copy is stopped. */
  async #amend(node: string, plan: Plan): Promise<boolean> {
    const { ownerEpoch } = this.record.doc
    const { market } = this.parts
    market.release(this.id)
    const here = await this.#auction.at(node, plan, { seen: false })
    if (here && (await this.#offer(here, plan))) return true
    const old = this.parts.linkOf(node)
    if (old) await this.parts.volumes.take(old, this.record, this.parts.now())
    if (!(await this.#offerAround(plan, new Set([node])))) {
      if (old) this.linked(old)
      await this.tell('lease.update_refused', 'no node takes the new terms; it runs on as it was')
      return false
    }
    if (this.record.node !== node && old && ownerEpoch !== null)
      this.sendStop(old, ownerEpoch, 'it moved to another node for its new terms')
    return true
  }

  // What its node says.

  async #status({ epoch, phase, message, replicas }: Report<'status'>): Promise<void> {
    const { doc, state: before, billedUntil } = this.record
    if (doc.ownerEpoch !== epoch || this.#closing) return
    const neverRan = doc.startedAt === null
    if (phase === 'failed' && neverRan) return await this.#failed(message)
    const state = stateOf(phase, neverRan)
    const starts = state === 'running' && neverRan
    const same = JSON.stringify(doc.replicas) === JSON.stringify(replicas)
    if (before === state && same && doc.message === message) return
    const events: NewDeploymentEvent[] = []
    if (before !== state) events.push(this.told(`lease.${state}`, message))
    else if (phase === 'pulling') events.push(this.told('lease.pulling', message))
    const now = this.parts.now()
    const startedAt = starts ? now : doc.startedAt
    // Pulling and starting are the provider's own time.
    const bills = starts && billedUntil === null ? { billedUntil: now } : {}
    await this.change({ state, doc: { ...doc, message, replicas, startedAt }, ...bills }, events)
  }

  /** It never ran there: perhaps another node can. */
  async #failed(message: string): Promise<void> {
    const { node, doc } = this.record
    const failures = doc.avoid.length + 1
    const link = node === null ? undefined : this.parts.linkOf(node)
    if (link && doc.ownerEpoch !== null) this.sendStop(link, doc.ownerEpoch, 'it did not start')
    await this.#lose(this.parts.now(), `${node} could not start it: ${message}`)
    if (failures < MAX_FAILED_STARTS) return await this.#place()
    this.#closing = true
    await this.#close(`it could not be started on ${failures} nodes: ${message}`, false)
  }

  #stopped(link: NodeLink, { epoch, reason }: Report<'stopped'>): void {
    if (this.#whenStopped) this.#whenStopped()
    else
      void this.#turns.take(async () => {
        if (this.#closing || !this.isOwner(link, epoch)) return
        await this.#lose(this.parts.now(), `${link.node} stopped it: ${reason}`)
        await this.#place()
      })
  }

  // Ending.

  /** The node has it no more: its time until `at` is paid, and the lease is an order again. */
  async #lose(at: Millis, why: string): Promise<void> {
    await this.settle(at)
    this.parts.market.release(this.id)
    this.#auction.again()
    const { node, doc } = this.record
    const now = this.parts.now()
    const avoid = doc.avoid.filter(({ until }) => until > now)
    if (node !== null) avoid.push({ node, until: now + AVOID_MS })
    const none = { ownerEpoch: null, startedAt: null, replicas: [] }
    await this.change(
      {
        state: 'ordered',
        node: null,
        billedUntil: null,
        doc: { ...doc, ...none, avoid, message: why },
      },
      [this.told('node.lost', `${why}; looking for another node, nothing is billed meanwhile`)],
    )
  }

  async #close(reason: string, keepVolumes: boolean): Promise<void> {
    if (!this.open) return
    const { node, hold, doc } = this.record
    await this.change({ state: 'draining', doc: { ...doc, message: reason } }, [
      this.told('lease.draining', reason),
    ])
    const link = node === null ? null : this.parts.linkOf(node)
    if (link && doc.ownerEpoch !== null) {
      const stopped = new Promise<void>((resolve) => (this.#whenStopped = resolve))
      this.sendStop(link, doc.ownerEpoch, reason, keepVolumes)
      await Promise.race([stopped, this.parts.pause(STOPPED_MS)])
      this.#whenStopped = null
    }
    await this.settle(this.parts.now())
    this.parts.market.release(this.id)
    await this.change({ state: 'closed', billedUntil: null, hold: null }, [
      this.told('lease.closed', `${reason}; $${formatUsd(this.record.spentNanoUsd)} in all`),
    ])
    if (hold !== null) await this.parts.store.closeHold(hold)
    if (!keepVolumes) await this.parts.volumes.forget(this.id)
  }
}
