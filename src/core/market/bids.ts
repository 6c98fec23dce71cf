/** From candidates to standing bids: the questions that only the node's own terms and exact price answer. */
import { totalRate, type UnitPrice } from '../protocol/bid.ts'
import { gpuKey, type Gpu } from '../protocol/capacity.ts'
import { priceGroup } from '../protocol/price-sheet.ts'
import type { Ask, AuctionRule, StandingBid } from './auction.ts'
import type { Candidate } from './candidate-heap.ts'
import { termsObstacles } from './node-obstacles.ts'
import type { NodeRecord, NodeTable } from './node-table.ts'
import { fits } from './room.ts'
import type { Way } from './ways.ts'

/** The bids for one order; one for all nodes of a provider at one price, so that nobody crowds out the rest. */
export class Bids {
  readonly #ask: Ask
  readonly #ways: readonly Way[]
  readonly #table: NodeTable
  readonly #found: StandingBid[] = []
  /** Pools, whose nodes all ask the same, that have bid in a way already or never will. */
  readonly #done = new Set<number>()

  constructor(ask: Ask, ways: readonly Way[], table: NodeTable) {
    this.#ask = ask
    this.#ways = ways
    this.#table = table
  }

  /** Takes candidates, best first, until there are `most` bids. Returns all bids so far. */
  add(candidates: Iterable<Candidate>, most: number): StandingBid[] {
    if (this.#found.length >= most) return this.#found
    for (const candidate of candidates) {
      const bid = this.#bidOf(candidate)
      if (bid && this.#found.push(bid) >= most) break
    }
    return this.#found
  }

  #bidOf(candidate: Candidate): StandingBid | null {
    const key = this.#table.poolAt(candidate.row) * this.#ways.length + candidate.way
    if (this.#done.has(key)) return null
    const { group, exclude } = this.#ask
    const record = this.#table.at(candidate.row)
    const way = this.#ways[candidate.way]
    if (!record || !way || exclude.has(record.node)) return null
    this.#done.add(key)
    if (termsObstacles(group, record).length > 0) return null
    const bid = exactBid(this.#ask, record, way)
    return bid && !this.#has(bid) ? bid : null
  }

  #has({ provider, total }: StandingBid): boolean {
    return this.#found.some((one) => one.total === total && one.provider === provider)
  }
}

/** What its provider's program asked of this order; null when it has no room for it, or not on these GPUs. */
export function programBid(
  { group, images }: Ask,
  record: NodeRecord,
  ways: readonly Way[],
  units: readonly UnitPrice[],
): StandingBid | null {
  const sameGpu = (way: Way) =>
    way.gpus.every((gpu, i) => keyOf(gpu) === keyOf(units[i]?.gpu ?? null))
  const way = ways.find((one) => sameGpu(one) && fits(record.room, one.need))
  if (!way || termsObstacles(group, record).length > 0) return null
  const { node, provider, survival } = record
  const cached = images.length > 0 && images.every((image) => record.images.has(image))
  const unitRates = units.map(({ rate }) => BigInt(rate))
  return { node, provider, way, unitRates, total: totalRate(group, units), cached, survival }
}

const keyOf = (gpu: Gpu | null): string | null => gpu && gpuKey(gpu)

/** Both kinds of bids together, best first by the tenant's rule; equal ones as they stand. */
export function weigh(
  rule: AuctionRule,
  standing: readonly StandingBid[],
  programs: readonly StandingBid[],
): StandingBid[] {
  if (programs.length === 0) return [...standing]
  return [...standing, ...programs].toSorted((a, b) => {
    if (rule === 'fastest' && a.cached !== b.cached) return a.cached ? -1 : 1
    if (rule === 'reliable') return Number(a.total) / a.survival - Number(b.total) / b.survival
    return a.total < b.total ? -1 : a.total > b.total ? 1 : 0
  })
}

/** Null when there is no price, or the exact one is over a ceiling that the double was just under. */
export function exactBid({ group, images }: Ask, record: NodeRecord, way: Way): StandingBid | null {
  const price = record.prices && priceGroup(record.prices, group, way.gpus)
  if (!price || 'unpriced' in price) return null
  const isOver = group.units.some(({ maxRate }, i) => (price.unitRates[i] ?? 0n) > BigInt(maxRate))
  if (isOver) return null
  const { node, provider, survival } = record
  const cached = images.length > 0 && images.every((image) => record.images.has(image))
  return { node, provider, way, ...price, cached, survival }
}
