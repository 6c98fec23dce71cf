/**
 * The market of a gateway: all nodes that lease, what each has free and asks, and for each order the auction and the
 * place. It sells optimistically: only the node's signed acceptance makes a lease, so a refusal is passed to the next.
 */
import { gpuKey, type Capacity, type FreeRoom, type Gpu } from '../protocol/capacity.ts'
import type { Group } from '../protocol/group.ts'
import { priceGroup, readPrices, type PriceSheet } from '../protocol/price-sheet.ts'
import { ableNodes } from './able-nodes.ts'
import { attributesOf, type Audits } from './attributes.ts'
import { MAX_BIDS_PER_ORDER, type Ask, type StandingBid } from './auction.ts'
import { CandidateHeap, type Candidate } from './candidate-heap.ts'
import { searchNodes, type Search } from './node-search.ts'
import type { UnitPrice } from '../protocol/bid.ts'
import { Bids, exactBid, programBid } from './bids.ts'
import { CapacityBook, type Pool } from './capacity-book.ts'
import { GpuKinds } from './gpu-kinds.ts'
import { supplyOf, termsObstacles } from './node-obstacles.ts'
import { NodeTable, type NodeRecord } from './node-table.ts'
import { choosePlace, type Opening } from './placement.ts'
import {
  firstGpus,
  fits,
  hasKinds,
  WHOLE_GPU_MILLI,
  type Need,
  type Room,
  type Taken,
} from './room.ts'
import { screenGroup, type Screening } from './screening.ts'
import { pressures } from './scarcity.ts'
import { textKey } from './text-key.ts'
import { shapeOf, waysOf, type Way } from './ways.ts'
import { WorkloadHistory } from './workload-history.ts'

export type NodeFacts = {
  readonly node: string
  readonly provider: string
  readonly capacity: Capacity
  /** Null: it asks a program of its provider's about each order. */
  readonly sheet: PriceSheet | null
  readonly audits: Audits
  /** Probability that it lives through a usual lease, above 0: `survival`. */
  readonly survival: number
}

/** Where a bid was placed: what to reserve. */
export type Placing = { readonly node: string; readonly need: Need; readonly gpus: Taken }

/** Nodes with a pricing program that one order asks: each is a process started at the provider's. */
export const MAX_ASKED_PER_ORDER = 32
/** Equal needs are one object for as long as there are not more different ones than this. */
const MAX_NEEDS = 4096
/** Rates in doubles are right to some 15 digits; what they let pass is priced exactly. */
const CLOSE = 1 + 1e-9
const NOBODY: ReadonlySet<number> = new Set()
const NO_WISHES = { rule: 'cheapest', images: [], exclude: new Set<string>() } as const

export class Market {
  readonly #kinds = new GpuKinds()
  readonly #book = new CapacityBook()
  readonly #table = new NodeTable()
  readonly #records = new Map<string, NodeRecord>()
  /** Those that price by a program, in the order in which they are to be asked. */
  readonly #programs = new Set<NodeRecord>()
  /** A provider's nodes, alike ones together. */
  readonly #providers = new Map<string, Map<Pool, Set<NodeRecord>>>()
  /** Rows of the nodes that have an image. */
  readonly #cachers = new Map<string, Set<number>>()
  readonly #history = new WorkloadHistory()
  readonly #heap = new CandidateHeap()
  readonly #needs = new Map<string, Need>()
  /** Of the order at hand, which is asked about several times in a row. */
  #latest: { group: Group | null; kinds: number; ways: readonly Way[] } = {
    group: null,
    kinds: 0,
    ways: [],
  }

  get size(): number {
    return this.#records.size
  }

  /** A node comes, or comes with another offer. What is reserved on it stays reserved. */
  setNode({ node, provider, capacity, sheet, audits, survival }: NodeFacts): void {
    this.removeNode(node)
    const pool = this.#book.pool(poolKey(provider, capacity, sheet, audits))
    const room = this.#book.set(node, pool, this.#roomOf(capacity))
    const attributes = attributesOf(capacity)
    const prices = sheet && readPrices(sheet)
    const images = new Set(capacity.cachedImages)
    const record = this.#table.add(
      { node, provider, pool, capacity, attributes, audits, prices, images, survival, room },
      (kind) => this.#kinds.gpu(kind),
    )
    this.#records.set(node, record)
    if (prices === null) this.#programs.add(record)
    this.#cache(record, images)
    const pools = this.#providers.get(provider) ?? new Map<Pool, Set<NodeRecord>>()
    this.#providers.set(provider, pools)
    pools.set(pool, (pools.get(pool) ?? new Set()).add(record))
  }

  removeNode(node: string): void {
    const record = this.#records.get(node)
    if (!record) return
    this.#records.delete(node)
    this.#programs.delete(record)
    this.#table.remove(record)
    this.#book.remove(node)
    this.#cache(record, new Set())
    const pools = this.#providers.get(record.provider)
    const alike = pools?.get(record.pool)
    alike?.delete(record)
    if (alike?.size === 0) pools?.delete(record.pool)
    if (pools?.size === 0) this.#providers.delete(record.provider)
  }

  /** What is free there by the node's own word; nothing when it does not fit the offer. */
  setFree(node: string, free: FreeRoom): void {
    const record = this.#records.get(node)
    if (!record) return
    const { capacity } = record
    const { persistent, gpus } = capacity
    if (persistent.length !== free.persistentBytes.length || gpus.length !== free.gpus.length)
      return
    const left = {
      ...capacity,
      cpuMilli: free.cpuMilli,
      memoryBytes: free.memoryBytes,
      ephemeralBytes: free.ephemeralBytes,
      persistent: persistent.map((one, i) => ({ ...one, bytes: free.persistentBytes[i] ?? 0 })),
      gpus: gpus.map((gpu, i) => ({ ...gpu, count: Math.min(gpu.count, free.gpus[i] ?? 0) })),
    }
    if (this.#book.hear(node, this.#roomOf(left))) this.#refresh(node)
  }

  /** Which images are there now, named as orders name them. */
  setImages(node: string, images: ReadonlySet<string>): void {
    const record = this.#records.get(node)
    if (record) this.#cache(record, images)
  }

  #cache(record: NodeRecord, images: ReadonlySet<string>): void {
    for (const image of record.images) {
      const rows = this.#cachers.get(image)
      rows?.delete(record.row)
      if (rows?.size === 0) this.#cachers.delete(image)
    }
    record.images = images
    for (const image of images)
      this.#cachers.set(image, (this.#cachers.get(image) ?? new Set()).add(record.row))
  }

  setSurvival(node: string, survival: number): void {
    const record = this.#records.get(node)
    if (!record) return
    record.survival = survival
    this.#table.refresh(record)
  }

  /**
   * The best standing bids, best first, at most `limit` and never more than `MAX_BIDS_PER_ORDER`: a program needs
   * some to fall back on, people some to choose from. One for all nodes of a provider at one price, so that
   * nobody crowds out the rest.
   */
  bids(ask: Ask, limit: number = MAX_BIDS_PER_ORDER): StandingBid[] {
    const most = Math.min(limit, MAX_BIDS_PER_ORDER)
    const found = new Bids(ask, this.ways(ask.group), this.#table)
    if (ask.rule !== 'fastest') return found.add(this.#search(ask, null), most)
    const cachers = ask.images.map((image) => this.#cachers.get(image) ?? NOBODY)
    const isCached = (row: number) => cachers.every((rows) => rows.has(row))
    found.add(this.#search(ask, isCached), most)
    return found.add(
      this.#search(ask, (row) => !isCached(row)),
      most,
    )
  }

  /** Who can run it, why the others cannot, and what would help: for people. Looks at every node. */
  screen(group: Group): Screening {
    const cheapest = (one: Group) => this.bids({ ...NO_WISHES, group: one }, 1)[0]?.total ?? null
    return screenGroup(group, {
      records: this.#records.values(),
      ways: (one) => this.ways(one),
      cheapest,
    })
  }

  /** Who could run it when idle, cheapest first. Looks at every node. */
  able(group: Group): string[] {
    return ableNodes(group, this.#records.values(), this.ways(group))
  }

  /** What this very node asks; null when it has no room, or cannot, or costs too much. For an amended bid. */
  bidAt(ask: Ask, node: string): StandingBid | null {
    const record = this.#records.get(node)
    if (!record || termsObstacles(ask.group, record).length > 0) return null
    const bids = this.ways(ask.group)
      .filter(({ need }) => fits(record.room, need))
      .flatMap((way) => exactBid(ask, record, way) ?? [])
    const [cheapest] = bids.toSorted((a, b) => (a.total < b.total ? -1 : 1))
    return cheapest ?? null
  }

  #search({ group, rule }: Ask, only: Search['only']): Generator<Candidate, undefined> {
    const ports = portsOf(group)
    const ceiling = ceilingOf(group)
    return searchNodes({
      table: this.#table,
      by: rule === 'reliable' ? 'price over survival' : 'price',
      wanted: this.ways(group).map(({ need }) => ({ need, ports, ceiling })),
      only,
      heap: this.#heap,
    })
  }

  /** Nodes that could run it and whose provider's program has to be asked for the price. Of many all get their turn. */
  toAsk({ group, exclude }: Ask): string[] {
    if (this.#programs.size === 0) return []
    const ways = this.ways(group)
    const found: string[] = []
    for (const record of this.#programs) {
      if (found.length === MAX_ASKED_PER_ORDER) break
      if (exclude.has(record.node)) continue
      const hasRoom = ways.some(({ need }) => fits(record.room, need))
      if (hasRoom && termsObstacles(group, record).length === 0) found.push(record.node)
    }
    for (const node of found) this.#askLast(node)
    return found
  }

  /** The bid that a node's program made, weighed as any other; null when the node cannot keep it any more. */
  answered(ask: Ask, node: string, units: readonly UnitPrice[]): StandingBid | null {
    const record = this.#records.get(node)
    if (!record || ask.exclude.has(node)) return null
    return programBid(ask, record, this.ways(ask.group), units)
  }

  /** Where a lease is that runs at this node already, whatever it costs; null when that cannot be told. */
  placeAt(group: Group, node: string, gpus: readonly (Gpu | null)[]): Placing | null {
    const room = this.#book.roomOf(node)
    const kinds = gpus.map((gpu) => gpu && gpuKey(gpu))
    const way = this.ways(group).find((one) =>
      one.gpus.every((gpu, i) => (gpu && gpuKey(gpu)) === kinds[i]),
    )
    if (!room || !way || !fits(room, way.need)) return null
    return { node, need: way.need, gpus: firstGpus(room, way.need) }
  }

  #askLast(node: string): void {
    const record = this.#records.get(node)
    if (record && this.#programs.delete(record)) this.#programs.add(record)
  }

  /**
   * The node for a bid: under `cheapest`, of all the provider's nodes at this price the one where least is wasted;
   * under the other rules the one that bids. Null when nothing is free there any more.
   */
  place(ask: Ask, bid: StandingBid): Placing | null {
    // A sheet is all nodes' of the provider that are alike; a program's bid is the one's that signed it.
    if (ask.rule === 'cheapest' && this.#records.get(bid.node)?.prices) {
      const best = this.#bestPlace(ask, bid)
      if (best) return best
    }
    const room = this.#book.roomOf(bid.node)
    const { need } = bid.way
    return room && fits(room, need) ? { node: bid.node, need, gpus: firstGpus(room, need) } : null
  }

  /** Holds the room for a lease; false when it is gone, or the lease holds some already. */
  reserve(lease: string, { node, need, gpus }: Placing): boolean {
    const reserved = this.#book.reserve(lease, node, need, gpus)
    if (reserved) this.#refresh(node)
    return reserved
  }

  /** Gives a lease's room back; false when it held none. */
  release(lease: string): boolean {
    const node = this.#book.nodeOf(lease)
    if (node === null || !this.#book.release(lease)) return false
    this.#refresh(node)
    return true
  }

  /** What is free there; null for a node that does not lease. */
  roomOf(node: string): Room | null {
    return this.#book.roomOf(node)
  }

  /** Remembers the order among those that fragmentation and scarcity are measured against. */
  observe(group: Group): void {
    this.#history.observe(shapeOf(group, this.ways(group), this.#kinds.size))
  }

  /** All ways in which the group could run on today's kinds of GPU. */
  ways(group: Group): readonly Way[] {
    const kinds = this.#kinds.size
    if (this.#latest.group !== group || this.#latest.kinds !== kinds)
      this.#latest = { group, kinds, ways: waysOf(group, this.#kinds) }
    return this.#latest.ways
  }

  #bestPlace(ask: Ask, bid: StandingBid): Placing | null {
    const openings = this.#openings(ask.group, bid)
    const mix = this.#history.mix()
    // Within one pool all GPUs that would be taken are of one kind.
    const pressure = openings.length > 1 ? pressures(mix, this.#book.freeGpuMilli) : null
    const place = choosePlace(openings, mix, pressure)
    if (!place) return null
    for (const node of place.twins.nodes)
      if (!ask.exclude.has(node)) return { node, need: place.need, gpus: place.fit.gpus }
    return null
  }

  /** The provider's pools where the group costs what the bid says, and what it would take there. */
  #openings(group: Group, bid: StandingBid): Opening[] {
    const own = this.#records.get(bid.node)?.pool
    const openings: Opening[] = []
    for (const [pool, records] of this.#providers.get(bid.provider) ?? []) {
      const [any] = records
      // Alike nodes ask alike; of others it has to be found out.
      if (pool === own) openings.push({ pool, need: this.#shared(bid.way.need) })
      else if (any?.prices && termsObstacles(group, any).length === 0)
        for (const { need } of this.ways(group).filter((way) => asks(bid.total, group, any, way)))
          openings.push({ pool, need: this.#shared(need) })
    }
    return openings
  }

  /** What was found out about a need is kept by the object, so equal ones are made the same. */
  #shared(need: Need): Need {
    const { cpuMilli, memoryBytes, supplies, gpus } = need
    const kinds = gpus.map(({ kind, units }) => `${kind}:${units}`)
    const key = `${cpuMilli} ${memoryBytes} ${supplies.join()} ${kinds.join()}`
    const known = this.#needs.get(key)
    if (known) return known
    if (this.#needs.size >= MAX_NEEDS) this.#needs.clear()
    this.#needs.set(key, need)
    return need
  }

  #refresh(node: string): void {
    const record = this.#records.get(node)
    const room = this.#book.roomOf(node)
    if (record && room) this.#table.setRoom(record, room)
  }

  #roomOf(capacity: Capacity): Room {
    return {
      cpuMilli: capacity.cpuMilli,
      memoryBytes: capacity.memoryBytes,
      supplies: supplyOf(capacity),
      gpus: capacity.gpus.map((gpu) => ({
        kind: this.#kinds.numberOf(gpu),
        freeMilli: Array.from({ length: gpu.count }, () => WHOLE_GPU_MILLI),
      })),
    }
  }
}

/** Nodes of one provider on the same terms, whatever their size: alike in all but what is free. */
function poolKey(
  provider: string,
  capacity: Capacity,
  sheet: PriceSheet | null,
  audits: Audits,
): string {
  const { cachedImages: _images, ...terms } = capacity
  const gpus = capacity.gpus.map(({ count: _count, ...gpu }) => gpu)
  const sizes = { cpuMilli: 0, memoryBytes: 0, ephemeralBytes: 0, ips: 0, gpus }
  const persistent = capacity.persistent.map((one) => one.class)
  return `${provider} ${textKey(JSON.stringify([{ ...terms, ...sizes, persistent }, sheet, audits]))}`
}

function asks(total: bigint, group: Group, { room, prices }: NodeRecord, way: Way): boolean {
  const price = prices && hasKinds(room, way.need) ? priceGroup(prices, group, way.gpus) : null
  return price !== null && 'total' in price && price.total === total
}

function ceilingOf(group: Group): number {
  let ceiling = 0
  for (const { maxRate, count } of group.units) ceiling += Number(maxRate) * count
  return ceiling * CLOSE
}

const portsOf = (group: Group): number =>
  group.units.reduce((sum, { count, endpoints }) => sum + count * endpoints.randomPort, 0)
