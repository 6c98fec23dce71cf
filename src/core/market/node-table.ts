/**
 * The nodes of a market as an auction looks through them: by GPU kind and price, or by the price of CPU and memory for
 * those who need no GPU. Only nodes with something free of that kind are listed.
 */
import { rateOf } from '../base/rate.ts'
import type { Gpu } from '../protocol/capacity.ts'
import type { Prices } from '../protocol/price-sheet.ts'
import type { Pool } from './capacity-book.ts'
import type { Terms } from './node-obstacles.ts'
import { gpusFreeAt, PriceBuckets, type BucketPlace } from './price-buckets.ts'
import { countFree, poolOf, SUPPLIES, WHOLE_GPU_MILLI, type Need, type Room } from './room.ts'

export type NodeRecord = Terms & {
  readonly node: string
  readonly provider: string
  readonly pool: Pool
  readonly images: ReadonlySet<string>
  /** Probability that it lives through a usual lease: `survival`. */
  survival: number
  room: Room
  readonly row: number
  readonly rates: Rates
  /** By GPU kind, and under `NO_GPU` by CPU and memory. */
  readonly listings: readonly Listing[]
}

/** Atto-dollars a second for one of each, as doubles, right to some 15 digits; infinite where the sheet has no price. */
type Rates = {
  readonly cpuMilli: number
  readonly memoryByte: number
  /** In the order of `SUPPLIES`. */
  readonly supplies: readonly number[]
  readonly port: number
}

/** What a node is listed by, and where it stands while it is. */
type Listing = { readonly kind: number; readonly rate: number; place: BucketPlace | null }

/** What a group takes, how many ports, and what it may cost at most. */
export type Wanted = {
  readonly need: Need
  readonly ports: number
  /** Atto-dollars a second. */
  readonly ceiling: number
}

/** For groups without GPUs: nodes by the price of a core with 2 GiB. */
export const NO_GPU = -1
const CORE_MILLI = 1000
const CORE_MEMORY_BYTES = 2 * 2 ** 30
const GIB = 2 ** 30

export class NodeTable {
  readonly #records: (NodeRecord | null)[] = []
  readonly #unusedRows: number[] = []
  readonly #byKind = new Map<number, PriceBuckets>()

  add(
    facts: Omit<NodeRecord, 'row' | 'rates' | 'listings'>,
    gpuOf: (kind: number) => Gpu | null,
  ): NodeRecord {
    const row = this.#unusedRows.pop() ?? this.#records.length
    const rates = ratesOf(facts.prices)
    const listings = facts.prices ? listingsOf(facts.room, facts.prices, rates, gpuOf) : []
    const record: NodeRecord = { ...facts, row, rates, listings }
    this.#records[row] = record
    this.setRoom(record, facts.room)
    return record
  }

  remove(record: NodeRecord): void {
    for (const listing of record.listings) this.#unlist(listing)
    this.#records[record.row] = null
    this.#unusedRows.push(record.row)
  }

  at(row: number): NodeRecord | null {
    return this.#records[row] ?? null
  }

  setRoom(record: NodeRecord, room: Room): void {
    record.room = room
    for (const listing of record.listings) {
      const gpus = poolOf(room, listing.kind)
      const gpusFree = gpus ? countFree(gpus, WHOLE_GPU_MILLI) : 0
      const hasSome = listing.kind === NO_GPU ? room.cpuMilli > 0 : gpusFree > 0
      if (!hasSome) this.#unlist(listing)
      else this.#list(record, listing, gpusFree)
    }
  }

  /** Nodes with some GPU of this kind free, by its price. */
  buckets(kind: number): PriceBuckets {
    const known = this.#byKind.get(kind)
    if (known) return known
    const buckets = new PriceBuckets()
    this.#byKind.set(kind, buckets)
    return buckets
  }

  /** In the order of `ENTRY`. */
  #list({ row, room, rates }: NodeRecord, listing: Listing, gpusFree: number): void {
    const entry = [
      row,
      gpusFree,
      listing.kind === NO_GPU ? 0 : listing.rate,
      room.cpuMilli,
      rates.cpuMilli,
      room.memoryBytes,
      rates.memoryByte,
      room.supplies[0] ?? 0,
      rates.supplies[0] ?? Infinity,
    ]
    const buckets = this.buckets(listing.kind)
    if (listing.place) buckets.set(listing.place, entry)
    else listing.place = buckets.add(entry, listing.rate)
  }

  #unlist(listing: Listing): void {
    if (!listing.place) return
    const moved = this.buckets(listing.kind).remove(listing.place)
    const others = moved === null ? [] : (this.at(moved)?.listings ?? [])
    for (const other of others)
      if (other.kind === listing.kind && other.place) other.place.at = listing.place.at
    listing.place = null
  }
}

/**
 * What a bucket's entry does not tell of the group's price at a node: storage that persists, IP addresses, ports and
 * a second kind of GPU. Infinite when something of it is not free or not for sale.
 */
export function extraRateAt(record: NodeRecord, { need, ports }: Wanted): number {
  const { room, rates, listings } = record
  let rate = ports > 0 ? ports * rates.port : 0
  for (let supply = 1; supply < need.supplies.length; supply++) {
    const amount = need.supplies[supply] ?? 0
    if (amount === 0) continue
    if ((room.supplies[supply] ?? 0) < amount) return Infinity
    rate += amount * (rates.supplies[supply] ?? Infinity)
  }
  for (const { kind, units } of need.gpus.slice(1)) {
    const listing = listings.find((one) => one.kind === kind)
    if (!listing?.place || gpusFreeAt(listing.place) < units) return Infinity
    rate += units * listing.rate
  }
  return rate
}

/** Nothing costs less than this where one GPU of the first kind (or a core with 2 GiB) costs at least `leastRate`. */
export function leastCost({ need }: Wanted, leastRate: number): number {
  const [gpu] = need.gpus
  if (gpu) return gpu.units * leastRate
  return Math.min(need.cpuMilli / CORE_MILLI, need.memoryBytes / CORE_MEMORY_BYTES) * leastRate
}

function listingsOf(
  room: Room,
  prices: Prices,
  { cpuMilli, memoryByte }: Rates,
  gpuOf: (kind: number) => Gpu | null,
): Listing[] {
  const core = cpuMilli * CORE_MILLI + memoryByte * CORE_MEMORY_BYTES
  const listings: Listing[] = [{ kind: NO_GPU, rate: core, place: null }]
  for (const { kind } of room.gpus) {
    const gpu = gpuOf(kind)
    const each = gpu && prices.gpu(gpu)
    if (each !== null) listings.push({ kind, rate: Number(rateOf(each, prices.per)), place: null })
  }
  return listings
}

function ratesOf(prices: Prices | null): Rates {
  const rate = (nano: bigint | undefined) =>
    nano === undefined || !prices ? Infinity : Number(rateOf(nano, prices.per))
  return {
    cpuMilli: rate(prices?.cpuThread) / 1000,
    memoryByte: rate(prices?.memoryGiB) / GIB,
    supplies: SUPPLIES.map((supply) =>
      supply === 'ips' ? rate(prices?.ip) : rate(prices?.storageGiB.get(supply)) / GIB,
    ),
    port: rate(prices?.port),
  }
}
