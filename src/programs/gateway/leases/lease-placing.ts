/** Finding a node for a lease: whom to ask, one after the other, and what follows from a yes. */
import { formatUsd } from '../../../core/base/money.ts'
import { priceFor } from '../../../core/base/rate.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { MAX_BID_MS } from '../../../core/protocol/bid.ts'
import type { AcceptedLease } from '../../../core/protocol/lease.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import { ANSWER_MS, Asking } from './asking.ts'
import { SCREENED_BID_MS, type ProgramAnswers } from './bid-desk.ts'
import { LeaseFile, NOBODY, type Plan } from './lease-file.ts'
import type { Candidate, Wish } from './lease-market.ts'
import { openersOf } from './lease-secrets.ts'

/** Bids asked in one round: more have the same answer, and a round stays short. */
const MAX_ASKED = 16

/** An order that stands asks pricing programs anew no sooner: each answer is a process at a provider's. */
const RETRIED_BID_MS = 30_000

export abstract class LeasePlacing extends LeaseFile {
  protected readonly asking = new Asking()
  #saidStranded = false
  /** Right after the screening what pricing programs said then will do. */
  #maxAgeMs: Millis = SCREENED_BID_MS

  /** Nothing more is to be found for it here. */
  protected abstract get over(): boolean

  protected whyNobody(): string {
    if (this.deployment.rule === 'manual') return "it waits for your choice of 'baseload bids'"
    const { reasons } = this.parts.market.screen(this.wish(this.record.doc, NOBODY))
    return reasons.join('; ') || 'each that could has refused'
  }

  protected wish(plan: Plan, avoid: ReadonlySet<string>): Wish {
    const { group, manifest } = plan
    const images = manifest.services.map(({ image }) => image)
    return { group, images, rule: this.deployment.rule, avoid, openers: openersOf(plan) }
  }

  /** It is another order by now: programs that bid on the last one are asked again. */
  protected anotherOrder(): void {
    this.#maxAgeMs = 0
  }

  /** What the pricing programs of those say that could run it. */
  async #programs(wish: Wish): Promise<ProgramAnswers> {
    const how = { tenant: this.record.account, maxAgeMs: this.#maxAgeMs }
    this.#maxAgeMs = RETRIED_BID_MS
    return await this.parts.market.gather(wish, how)
  }

  /** This node's bid. `seen`: the tenant chose it, and takes the price that was shown. */
  protected async bidAt(
    node: string,
    plan: Plan,
    { seen }: { readonly seen: boolean },
  ): Promise<Candidate | null> {
    const { market } = this.parts
    const wish = this.wish(plan, NOBODY)
    const how = { tenant: this.record.account, maxAgeMs: seen ? MAX_BID_MS : 0, node }
    return market.at(node, wish, await market.gather(wish, how))
  }

  /** Somebody's bid stands: who that is may change until it is asked. */
  async #hasBid(wish: Wish): Promise<boolean> {
    return this.parts.market.best(wish, await this.#programs(wish)) !== null
  }

  /** Once: no node that can open its secrets takes it, and another would if it could. */
  protected async tellIfStranded(): Promise<void> {
    const { secrets } = this.record.doc
    const { market } = this.parts
    if (this.#saidStranded || secrets === null) return
    const wish = this.wish(this.record.doc, NOBODY)
    const there = market.openersThere(secrets)
    if (await this.#hasBid(wish)) return
    if (there > 0 && !(await this.#hasBid({ ...wish, openers: 'any with a key' }))) return
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

  /** Asks one node after the other, best first; better one that failed before than none. True when one has taken it. */
  protected async offerAround(
    plan: Plan,
    avoid: ReadonlySet<string>,
    never = NOBODY,
  ): Promise<boolean> {
    const answers = await this.#programs(this.wish(plan, never))
    for (const shunned of avoid.size > 0 ? [avoid, NOBODY] : [NOBODY]) {
      const asked = new Set([...shunned, ...never])
      for (let round = 0; round < MAX_ASKED && !this.over; round++) {
        const candidate = this.parts.market.best(this.wish(plan, asked), answers)
        if (!candidate) break
        if (await this.offer(candidate, plan)) return true
        asked.add(candidate.placing.node)
      }
    }
    return false
  }

  /** Asks one node under an epoch of its own. True when it has the lease now. */
  protected async offer(candidate: Candidate, plan: Plan): Promise<boolean> {
    const { node } = candidate.placing
    const { gateway, now, logger } = this.parts
    const link = this.parts.linkOf(node)
    if (!link || !(await this.canBringVolumes(node))) return false
    const at = now()
    if (isRefusal(await this.decide({ type: 'ask', node, acceptBy: at + ANSWER_MS }))) return false
    const { record } = this
    const { group } = plan
    const asked = await this.asking.ask(link, { record, group, candidate, gateway, at })
    const why = this.over
      ? 'the lease is not wanted any more'
      : 'why' in asked
        ? asked.why
        : await this.#accepted(candidate, link, plan, asked)
    if (why === null) return true
    logger.info('lease not taken', { lease: this.id, node, why })
    this.sendStop(link, record.epoch, why)
    return false
  }

  /** Null when the lease is the node's now, else why not. */
  async #accepted(
    { bid, placing }: Candidate,
    link: NodeLink,
    { group, manifest, secrets }: Plan,
    { terms, signature }: AcceptedLease,
  ): Promise<string | null> {
    const { epoch, node: before } = this.record
    const price = `$${formatUsd(priceFor(bid.rate, 'hour'))} an hour`
    const accepted = await this.decide(
      { type: 'accept', node: link.node, epoch },
      {
        doc: { group, manifest, secrets, terms, signature, rate: String(bid.rate) },
        news: [this.told('lease.accepted', `${link.node} runs it for ${price}`)],
      },
    )
    if (isRefusal(accepted)) return accepted.message
    this.unstranded()
    this.parts.market.reserve(this.id, placing)
    this.parts.market.observe(group)
    if (before !== link.node) await this.bringVolumes(link)
    this.sendRun(link)
    return null
  }

  /** To any node but this one, with its volumes as they are now. */
  protected async move(node: string, plan: Plan, why: string): Promise<boolean> {
    const { ownerEpoch } = this.record.doc
    const old = this.parts.linkOf(node)
    const others = await this.#hasBid(this.wish(plan, new Set([node])))
    if (old && others) await this.takeSnapshots(old)
    if (!(await this.offerAround(plan, NOBODY, new Set([node])))) return false
    if (old && ownerEpoch !== null) this.sendStop(old, ownerEpoch, why)
    return true
  }
}
