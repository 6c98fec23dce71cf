/** The market as one lease asks it: under its tenant's rule, with what pricing programs say, and not too often. */
import type { AuctionRule } from '../../../core/market/auction.ts'
import type { Millis } from '../../../core/base/time.ts'
import { MAX_BID_MS } from '../../../core/protocol/bid.ts'
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'
import { SCREENED_BID_MS, type ProgramAnswers } from './bid-desk.ts'
import type { Candidate, LeaseMarket, Wish } from './lease-market.ts'

/** What is to run. */
export type Plan = Pick<LeaseDoc, 'group' | 'manifest'>

/** An order that stands asks pricing programs anew no sooner: each answer is a process at a provider's. */
const RETRIED_BID_MS = 30_000

export const NOBODY: ReadonlySet<string> = new Set()

export class LeaseAuction {
  readonly #market: LeaseMarket
  readonly #tenant: string
  readonly #rule: AuctionRule
  /** Right after the screening what was said then will do. */
  #maxAgeMs: Millis = SCREENED_BID_MS

  constructor(market: LeaseMarket, tenant: string, rule: AuctionRule) {
    this.#market = market
    this.#tenant = tenant
    this.#rule = rule
  }

  wish({ group, manifest }: Plan, avoid: ReadonlySet<string>): Wish {
    const images = manifest.services.map(({ image }) => image)
    return { group, images, rule: this.#rule, avoid }
  }

  /** What pricing programs say now. */
  async programs(plan: Plan): Promise<ProgramAnswers> {
    const how = { tenant: this.#tenant, maxAgeMs: this.#maxAgeMs }
    this.#maxAgeMs = RETRIED_BID_MS
    return await this.#market.gather(this.wish(plan, NOBODY), how)
  }

  /** It is another order by now: whoever bid on the last one is asked again. */
  again(): void {
    this.#maxAgeMs = 0
  }

  /** This node's bid. `seen`: the tenant chose it, and takes the price that was shown. */
  async at(node: string, plan: Plan, { seen }: { seen: boolean }): Promise<Candidate | null> {
    const wish = this.wish(plan, NOBODY)
    const how = { tenant: this.#tenant, maxAgeMs: seen ? MAX_BID_MS : 0, node }
    return this.#market.at(node, wish, await this.#market.gather(wish, how))
  }

  best(plan: Plan, avoid: ReadonlySet<string>, answers: ProgramAnswers): Candidate | null {
    return this.#market.best(this.wish(plan, avoid), answers)
  }

  /** Why nobody takes it. */
  whyNobody(plan: Plan): string {
    const { reasons } = this.#market.screen(this.wish(plan, NOBODY))
    return reasons.join('; ') || 'each that could has refused'
  }
}
