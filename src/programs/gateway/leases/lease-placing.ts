/** Finding a node for a lease: whom to ask, one after the other, and what follows from a yes. */
import { formatUsd } from '../../../core/base/money.ts'
import { priceFor } from '../../../core/base/rate.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import type { AcceptedLease } from '../../../core/protocol/lease.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'
import { ANSWER_MS, Asking } from './asking.ts'
import { LeaseFile } from './lease-file.ts'
import type { Candidate, Wish } from './lease-market.ts'

/** Bids asked in one round: more have the same answer, and a round stays short. */
const MAX_ASKED = 16

/** What is to run. */
export type Plan = Pick<LeaseDoc, 'group' | 'manifest'>

export const NOBODY: ReadonlySet<string> = new Set()

export abstract class LeasePlacing extends LeaseFile {
  protected readonly asking = new Asking()

  /** Nothing more is to be found for it here. */
  protected abstract get over(): boolean

  protected whyNobody(): string {
    if (this.deployment.rule === 'manual') return "it waits for your choice of 'baseload bids'"
    const { reasons } = this.parts.market.screen(this.wish(this.record.doc, NOBODY))
    return reasons.join('; ') || 'each that could has refused'
  }

  protected wish({ group, manifest }: Plan, avoid: ReadonlySet<string>): Wish {
    const images = manifest.services.map(({ image }) => image)
    return { group, images, rule: this.deployment.rule, avoid }
  }

  /** Asks one node after the other, best first; better one that failed before than none. True when one has taken it. */
  protected async offerAround(
    plan: Plan,
    avoid: ReadonlySet<string>,
    never = NOBODY,
  ): Promise<boolean> {
    for (const shunned of avoid.size > 0 ? [avoid, NOBODY] : [NOBODY]) {
      const asked = new Set([...shunned, ...never])
      for (let round = 0; round < MAX_ASKED && !this.over; round++) {
        const candidate = this.parts.market.best(this.wish(plan, asked))
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
    if (!link) return false
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
    { group, manifest }: Plan,
    { terms, signature }: AcceptedLease,
  ): Promise<string | null> {
    const { epoch, node: before } = this.record
    const price = `$${formatUsd(priceFor(bid.rate, 'hour'))} an hour`
    const accepted = await this.decide(
      { type: 'accept', node: link.node, epoch },
      {
        doc: { group, manifest, terms, signature, rate: String(bid.rate) },
        news: [this.told('lease.accepted', `${link.node} runs it for ${price}`)],
      },
    )
    if (isRefusal(accepted)) return accepted.message
    this.parts.market.reserve(this.id, placing)
    this.parts.market.observe(group)
    if (before !== link.node) await this.bringVolumes(link)
    this.sendRun(link)
    return null
  }

  /** To any node but this one, with its volumes as they are now. */
  protected async move(node: string, plan: Plan, why: string): Promise<boolean> {
    const { linkOf, volumes, now } = this.parts
    const { ownerEpoch } = this.record.doc
    const old = linkOf(node)
    const others = this.parts.market.best(this.wish(plan, new Set([node])))
    if (old && others) await volumes.take(old, this.record, now())
    if (!(await this.offerAround(plan, NOBODY, new Set([node])))) return false
    if (old && ownerEpoch !== null) this.sendStop(old, ownerEpoch, why)
    return true
  }
}
