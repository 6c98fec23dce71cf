/**
 * Finds the nodes for an order one by one, the best first, without looking at most of them: opens the cheapest bucket
 * that is left until nothing in the rest can outrank the best that was found (the threshold algorithm of Fagin,
 * Lotem and Naor, "Optimal Aggregation Algorithms for Middleware", 2003). What a bucket does not tell is worked
 * out only for candidates that come to the top without it.
 */
import type { Candidate, CandidateHeap } from './candidate-heap.ts'
import { extraRateAt, leastCost, NO_GPU, type NodeTable, type Wanted } from './node-table.ts'
import { ENTRY, ENTRY_WIDTH, type Bucket } from './price-buckets.ts'

export type Search = {
  readonly table: NodeTable
  /** `price`, or price over survival: what an hour costs that is not lost. */
  readonly by: 'price' | 'price over survival'
  /** One for each way. */
  readonly wanted: readonly Wanted[]
  /** Which rows to look at; null: all. */
  readonly only: ((row: number) => boolean) | null
  /** Emptied and used. */
  readonly heap: CandidateHeap
}

/** How far one way to run the group was followed through the buckets of its GPU kind. */
type Cursor = {
  readonly way: number
  readonly wanted: Wanted
  /** Whether a bucket tells all that the rank needs. */
  readonly isPlain: boolean
  readonly buckets: readonly Bucket[]
  next: number
  /** No node of the next bucket or a later one costs less. */
  leastRate: number
}

/** The nodes that have the room and cost no more than the ceiling, best rank first; a node once for each way. */
export function* searchNodes(search: Search): Generator<Candidate, undefined> {
  const { heap, wanted } = search
  heap.clear()
  const cursors = wanted.map((one, way) => cursorOf(search, one, way))
  for (;;) {
    const cursor = cheapest(cursors)
    // No rank is below the rate.
    if (cursor && cursor.leastRate < heap.bestRank) {
      open(search, cursor)
      continue
    }
    const best = heap.takeBest()
    if (!best) return
    if (best.exact) yield best
    else workOut(search, best)
  }
}

function cursorOf({ table, by }: Search, wanted: Wanted, way: number): Cursor {
  const { need, ports } = wanted
  const { buckets } = table.buckets(need.gpus[0]?.kind ?? NO_GPU)
  const isTold =
    ports === 0 && need.gpus.length < 2 && need.supplies.slice(1).every((amount) => amount === 0)
  const isPlain = isTold && by === 'price'
  const cursor = { way, wanted, isPlain, buckets, next: 0, leastRate: 0 }
  lookAhead(cursor)
  return cursor
}

function lookAhead(cursor: Cursor): void {
  const bucket = cursor.buckets[cursor.next]
  const least = bucket ? leastCost(cursor.wanted, bucket.leastRate) : Infinity
  cursor.leastRate = least <= cursor.wanted.ceiling ? least : Infinity
}

function cheapest(cursors: readonly Cursor[]): Cursor | null {
  let best: Cursor | null = null
  for (const cursor of cursors) if (cursor.leastRate < (best?.leastRate ?? Infinity)) best = cursor
  return best
}

function open({ only, heap }: Search, cursor: Cursor): void {
  const bucket = cursor.buckets[cursor.next]
  const { wanted, way, isPlain } = cursor
  cursor.next += 1
  lookAhead(cursor)
  if (!bucket) return
  const { cells, size } = bucket
  for (let at = 0; at < size * ENTRY_WIDTH; at += ENTRY_WIDTH) {
    const rate = rateIn(cells, at, wanted)
    const row = cells[at + ENTRY.row] ?? 0
    if (rate <= wanted.ceiling && (!only || only(row))) heap.add(rate, row, way, isPlain)
  }
}

/** By what the bucket tells: all that a plain need costs, and less than any other. */
function rateIn(cells: Float64Array, at: number, { need }: Wanted): number {
  const [gpu] = need.gpus
  const units = gpu ? gpu.units : 0
  const ephemeral = need.supplies[0] ?? 0
  if (
    (cells[at + ENTRY.gpusFree] ?? 0) < units ||
    (cells[at + ENTRY.cpuMilliFree] ?? 0) < need.cpuMilli ||
    (cells[at + ENTRY.memoryBytesFree] ?? 0) < need.memoryBytes ||
    (cells[at + ENTRY.ephemeralBytesFree] ?? 0) < ephemeral
  )
    return Infinity
  const rate =
    units * (cells[at + ENTRY.gpuRate] ?? 0) +
    need.cpuMilli * (cells[at + ENTRY.cpuMilliRate] ?? 0) +
    need.memoryBytes * (cells[at + ENTRY.memoryByteRate] ?? 0)
  return ephemeral === 0 ? rate : rate + ephemeral * (cells[at + ENTRY.ephemeralByteRate] ?? 0)
}

/** The candidate's own rank, from what only the node's record tells. */
function workOut({ table, by, wanted, heap }: Search, { row, way, rank }: Candidate): void {
  const record = table.at(row)
  const asked = wanted[way]
  if (!record || !asked) return
  const rate = rank + extraRateAt(record, asked)
  if (rate > asked.ceiling) return
  heap.add(by === 'price' ? rate : rate / record.survival, row, way, true)
}
