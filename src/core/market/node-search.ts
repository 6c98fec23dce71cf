/**
 * Finds the nodes for an order one by one, the best first, without looking at most of them: opens the cheapest bucket
 * that is left until nothing in the rest can outrank the best that was found (the threshold algorithm of Fagin,
 * Lotem and Naor, "Optimal Aggregation Algorithms for Middleware", 2003). What a bucket does not tell is worked
 * out only for candidates that come to the top without it.
 */
import type { Candidate, CandidateHeap } from './candidate-heap.ts'
import {
  besideCores,
  coresIn,
  NO_GPU,
  otherGpusRate,
  type NodeTable,
  type Wanted,
} from './node-table.ts'
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
  /** Whether a bucket tells all: it does of one kind of GPU. */
  readonly isPlain: boolean
  readonly buckets: readonly Bucket[]
  /** What is paid at the bucket's rate, GPUs or cores, and what all else costs at least. */
  readonly units: number
  readonly leastRest: number
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

function cursorOf({ table }: Search, wanted: Wanted, way: number): Cursor {
  const { need } = wanted
  const [gpu] = need.gpus
  const { buckets, lowest } = table.buckets(gpu?.kind ?? NO_GPU)
  const units = gpu?.units ?? coresIn(need)
  const rest = gpu ? wanted : { ...wanted, need: besideCores(need, units) }
  const leastRest = restRate(lowest, 0, rest)
  const isPlain = need.gpus.length < 2
  const cursor = { way, wanted, isPlain, buckets, units, leastRest, next: 0, leastRate: 0 }
  lookAhead(cursor)
  return cursor
}

function lookAhead(cursor: Cursor): void {
  const bucket = cursor.buckets[cursor.next]
  const { wanted, units, leastRest } = cursor
  // A hair less: sums in another order differ in their last digits.
  const least = bucket ? (leastRest + units * bucket.leastRate) * (1 - 1e-9) : Infinity
  cursor.leastRate = least <= wanted.ceiling ? least : Infinity
}

function cheapest(cursors: readonly Cursor[]): Cursor | null {
  let best: Cursor | null = null
  for (const cursor of cursors) if (cursor.leastRate < (best?.leastRate ?? Infinity)) best = cursor
  return best
}

function open({ only, heap, by }: Search, cursor: Cursor): void {
  const bucket = cursor.buckets[cursor.next]
  const { wanted, way, isPlain } = cursor
  cursor.next += 1
  lookAhead(cursor)
  if (!bucket) return
  const { cells, size } = bucket
  const units = wanted.need.gpus[0]?.units ?? 0
  for (let at = 0; at < size * ENTRY_WIDTH; at += ENTRY_WIDTH) {
    if ((cells[at + ENTRY.gpusFree] ?? 0) < units || !hasRest(cells, at, wanted)) continue
    const rate = units * (cells[at + ENTRY.gpuRate] ?? 0) + restRate(cells, at, wanted)
    const row = cells[at + ENTRY.row] ?? 0
    if (rate > wanted.ceiling || (only && !only(row))) continue
    const survival = by === 'price' ? 1 : (cells[at + ENTRY.survival] ?? 1)
    heap.add(rate / survival, row, way, isPlain)
  }
}

function hasRest(cells: Float64Array, at: number, { need }: Wanted): boolean {
  if ((cells[at + ENTRY.cpuMilliFree] ?? 0) < need.cpuMilli) return false
  if ((cells[at + ENTRY.memoryBytesFree] ?? 0) < need.memoryBytes) return false
  for (let supply = 0; supply < need.supplies.length; supply++)
    if ((cells[at + ENTRY.suppliesFree + supply] ?? 0) < (need.supplies[supply] ?? 0)) return false
  return true
}

/** What all but the GPUs costs. */
function restRate(cells: Float64Array, at: number, wanted: Wanted): number {
  const { need } = wanted
  const cpu = need.cpuMilli * (cells[at + ENTRY.cpuMilliRate] ?? 0)
  const memory = need.memoryBytes * (cells[at + ENTRY.memoryByteRate] ?? 0)
  return cpu + memory + suppliesRate(cells, at, wanted)
}

function suppliesRate(cells: Float64Array, at: number, { need, ports }: Wanted): number {
  // A price of what is not for sale is infinite, and nothing of it costs nothing.
  let rate = ports > 0 ? ports * (cells[at + ENTRY.portRate] ?? 0) : 0
  for (let supply = 0; supply < need.supplies.length; supply++) {
    const amount = need.supplies[supply] ?? 0
    if (amount > 0) rate += amount * (cells[at + ENTRY.supplyRates + supply] ?? 0)
  }
  return rate
}

/** The candidate's own rank, with what only the node's record tells. */
function workOut({ table, by, wanted, heap }: Search, { row, way, rank }: Candidate): void {
  const record = table.at(row)
  const asked = wanted[way]
  if (!record || !asked) return
  const survival = by === 'price' ? 1 : record.survival
  const rate = rank * survival + otherGpusRate(record, asked.need.gpus)
  if (rate <= asked.ceiling) heap.add(rate / survival, row, way, true)
}
