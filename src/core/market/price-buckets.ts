/**
 * Nodes by what one thing costs there, in buckets some 4 % of the price wide: whoever looks for the cheapest opens
 * bucket after bucket and stops when the next cannot hold anything better. A node comes and goes in O(1).
 *
 * What an auction asks of every node lies side by side in its bucket: opening one reads memory from front to back,
 * which is ten times as fast as following each node's objects around.
 */

import { SUPPLIES } from './room.ts'

/** 16 buckets from one price to its double. */
const PER_DOUBLING = 16
/** Free of charge, or nearly: below any price that a sheet can tell. */
const LEAST_RATE = 2 ** -60

/** A node's numbers in a bucket: what is free there, and atto-dollars a second for one of each. */
export const ENTRY = {
  row: 0,
  /** Probability that it lives through a usual lease. */
  survival: 1,
  /** GPUs of the kind; none for nodes that are listed by CPU and memory. */
  gpusFree: 2,
  gpuRate: 3,
  cpuMilliFree: 4,
  cpuMilliRate: 5,
  memoryBytesFree: 6,
  memoryByteRate: 7,
  portRate: 8,
  /** What is free of each of `SUPPLIES`, then the rate of each. */
  suppliesFree: 9,
  supplyRates: 9 + SUPPLIES.length,
} as const
export const ENTRY_WIDTH = ENTRY.supplyRates + SUPPLIES.length

export class Bucket {
  /** No node in it asks less. */
  readonly leastRate: number
  cells = new Float64Array(4 * ENTRY_WIDTH)
  size = 0

  constructor(leastRate: number) {
    this.leastRate = leastRate
  }
}

/** Where a node is. */
export type BucketPlace = { readonly bucket: Bucket; at: number }

export class PriceBuckets {
  /** Ascending. Empty ones stay, since the next node at that price is never far. */
  readonly buckets: Bucket[] = []
  /** An entry of the lowest numbers that ever were in one: nothing costs less. */
  readonly lowest = new Float64Array(ENTRY_WIDTH).fill(Infinity)
  readonly #byNumber = new Map<number, Bucket>()

  /** `rate`: what the node is listed by. */
  add(entry: Float64Array, rate: number): BucketPlace {
    const bucket = this.#bucketFor(rate)
    if ((bucket.size + 1) * ENTRY_WIDTH > bucket.cells.length) {
      const larger = new Float64Array(2 * bucket.cells.length)
      larger.set(bucket.cells)
      bucket.cells = larger
    }
    for (const [cell, number] of entry.entries())
      this.lowest[cell] = Math.min(this.lowest[cell] ?? Infinity, number)
    const place = { bucket, at: bucket.size++ }
    this.set(place, entry)
    return place
  }

  set({ bucket, at }: BucketPlace, entry: Float64Array): void {
    bucket.cells.set(entry, at * ENTRY_WIDTH)
  }

  /** The last of the bucket takes the place: returns its row, when there is one. */
  remove({ bucket, at }: BucketPlace): number | null {
    bucket.size -= 1
    if (at === bucket.size) return null
    const last = bucket.size * ENTRY_WIDTH
    bucket.cells.copyWithin(at * ENTRY_WIDTH, last, last + ENTRY_WIDTH)
    return bucket.cells[at * ENTRY_WIDTH + ENTRY.row] ?? null
  }

  #bucketFor(rate: number): Bucket {
    const number = Math.floor(Math.log2(Math.max(rate, LEAST_RATE)) * PER_DOUBLING)
    const known = this.#byNumber.get(number)
    if (known) return known
    // A hair lower, so that no rounding of the logarithm puts a node below its bucket's floor.
    const floor = rate <= LEAST_RATE ? 0 : 2 ** (number / PER_DOUBLING) * (1 - 1e-9)
    const bucket = new Bucket(floor)
    this.#byNumber.set(number, bucket)
    const after = this.buckets.findIndex(({ leastRate }) => leastRate > floor)
    this.buckets.splice(after < 0 ? this.buckets.length : after, 0, bucket)
    return bucket
  }
}

export const gpusFreeAt = ({ bucket, at }: BucketPlace): number =>
  bucket.cells[at * ENTRY_WIDTH + ENTRY.gpusFree] ?? 0
