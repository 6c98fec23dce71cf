/** What is asked of the market and what it answers: the words of an auction. */
import type { AttoUsdPerSecond } from '../base/rate.ts'
import type { Group } from '../protocol/group.ts'
import type { Way } from './ways.ts'

export const AUCTION_RULES = ['cheapest', 'reliable', 'fastest', 'manual'] as const
/**
 * `cheapest`: by price. `reliable`: by what an hour costs that is not lost, price over survival. `fastest`: who has
 * the images already, then by price. `manual`: as `cheapest`, and the tenant names the bid.
 */
export type AuctionRule = (typeof AUCTION_RULES)[number]

/** More than anyone compares; a list of them is ready in a fraction of a millisecond. */
export const MAX_BIDS_PER_ORDER = 64
/** What an order that chooses by itself keeps: a node that says no is rare, and after four the market is asked anew. */
export const BIDS_TO_FALL_BACK_ON = 4

/** An order, as the market is asked for bids on it. */
export type Ask = {
  readonly group: Group
  readonly rule: AuctionRule
  /** What `fastest` looks for at the nodes. */
  readonly images: readonly string[]
  /** Nodes that refused this order, lost it, or cannot open its secrets. */
  readonly exclude: Pick<ReadonlySet<string>, 'has'>
}

/** A bid that stands: by the node's price sheet, without its having been asked, or by its signed word. */
export type StandingBid = {
  readonly node: string
  readonly provider: string
  readonly way: Way
  /** One copy of each unit, in the group's order. */
  readonly unitRates: readonly AttoUsdPerSecond[]
  readonly total: AttoUsdPerSecond
  readonly cached: boolean
  readonly survival: number
}
