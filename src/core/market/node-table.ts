/**
 * The nodes of a market as an auction looks through them: by GPU kind and price, or by the price of CPU and memory for
 * those who need no GPU. Only nodes with something free of that kind are listed.
 */
import { rateOf } from '../base/rate.ts'
import type { Gpu } from '../protocol/capacity.ts'
import type { Prices } from '../protocol/price-sheet.ts'
import type { Pool } from './capacity-book.ts'
import type { Terms } from './node-obstacles.ts'
import { ENTRY, ENTRY_WIDTH, gpusFreeAt, PriceBuckets, type BucketPlace } from './price-buckets.ts'
import { countFree, poolOf, SUPPLIES, WHOLE_GPU_MILLI, type Need, type Room } from './room.ts'

export type NodeRecord = Terms & {
  readonly node: string
  readonly provider: string
  readonly pool: Pool
  images: ReadonlySet<string>
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
  /** The pool's number of each row: asked of every candidate, before its record is. */
  readonly #pools: number[] = []
  readonly #byKind = new Map<number, PriceBuckets>()
  /** Filled and copied for each listing. */
  readonly #entry = new Float64Array(ENTRY_WIDTH)

  add(
    facts: Omit<NodeRecord, 'row' | 'rates' | 'listings'>,
    gpuOf: (kind: number) => Gpu | null,
  ): NodeRecord {
    const row = this.#unusedRows.pop() ?? this.#records.length
    const rates = ratesOf(facts.prices)
    const listings = facts.prices ? listingsOf(facts.room, facts.prices, rates, gpuOf) : []
    const record: NodeRecord = { ...facts, row, rates, listings }
    this.#records[row] = record
    this.#pools[row] = facts.pool.number
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

  poolAt(row: number): number {
    return this.#pools[row] ?? -1
  }

  setRoom(record: NodeRecord, room: Room): void {
    record.room = room
    this.refresh(record)
  }

  /** After its survival changed as well. */
  refresh(record: NodeRecord): void {
    const { room } = record
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

  #list({ row, room, rates, survival }: NodeRecord, listing: Listing, gpusFree: number): void {
    const entry = this.#entry
    entry[ENTRY.row] = row
    entry[ENTRY.survival] = survival
    entry[ENTRY.gpusFree] = gpusFree
    entry[ENTRY.gpuRate] = listing.kind === NO_GPU ? 0 : listing.rate
    entry[ENTRY.cpuMilliFree] = room.cpuMilli
    entry[ENTRY.cpuMilliRate] = rates.cpuMilli
    entry[ENTRY.memoryBytesFree] = room.memoryBytes
    entry[ENTRY.memoryByteRate] = rates.memoryByte
    entry[ENTRY.portRate] = rates.port
    entry.set(room.supplies, ENTRY.suppliesFree)
    entry.set(rates.supplies, ENTRY.supplyRates)
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

/** What further kinds of GPU cost there; infinite when they are not free or not for sale. */
export function otherGpusRate({ listings }: NodeRecord, gpus: Need['gpus']): number {
  let rate = 0
  for (const { kind, units } of gpus.slice(1)) {
    const listing = listings.find((one) => one.kind === kind)
    if (!listing?.place || gpusFreeAt(listing.place) < units) return Infinity
    rate += units * listing.rate
  }
  return rate
}

/** How much of the need is surely paid at the rate that nodes of `NO_GPU` are listed by: cores, each with 2 GiB. */
export const coresIn = ({ cpuMilli, memoryBytes }: Need): number =>
  Math.min(cpuMilli / CORE_MILLI, memoryBytes / CORE_MEMORY_BYTES)

/** What the need takes beside so many cores with 2 GiB each. */
export const besideCores = (need: Need, cores: number): Need => ({
  ...need,
  cpuMilli: need.cpuMilli - cores * CORE_MILLI,
  memoryBytes: need.memoryBytes - cores * CORE_MEMORY_BYTES,
})

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
