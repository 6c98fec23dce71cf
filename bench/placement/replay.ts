/** One replay of a trace: pods arrive, are placed where the market would place them, and stay. */
import { CapacityBook, type Pool } from '../../src/core/market/capacity-book.ts'
import { choosePlace, type Opening } from '../../src/core/market/placement.ts'
import type { Need } from '../../src/core/market/room.ts'
import { pressures } from '../../src/core/market/scarcity.ts'
import { shapeKey, WorkloadHistory } from '../../src/core/market/workload-history.ts'
import { WorkloadMix } from '../../src/core/market/workload-mix.ts'
import { arrivals, gpuMilliOf, type Pod, type TraceNode } from './trace.ts'

/** Load that has arrived, in percent of all GPUs, at which the allocation is read. */
export const LOADS = [90, 100, 130] as const

export type Replay = {
  /** Percent of all GPUs, at each of `LOADS`. */
  readonly allocation: readonly number[]
  readonly placed: number
}

export function replay(input: {
  nodes: readonly TraceNode[]
  pods: readonly Pod[]
  seed: number
  scarcity: boolean
  /** `trace`: known beforehand, as in the artifact; `learned`: from the pods as they come. */
  mix: 'trace' | 'learned'
}): Replay {
  const { nodes, pods, seed, scarcity } = input
  const { book, pools, totalMilli } = aFleet(nodes)
  const known = input.mix === 'trace' ? new WorkloadMix(countShapes(pods)) : null
  const history = new WorkloadHistory()
  const openings = new Map<string, readonly Opening[]>()
  const allocation: number[] = []
  let [arrived, allocated, placed] = [0, 0, 0]
  for (const [index, pod] of arrivals(pods, 1.3 * totalMilli, seed).entries()) {
    const mix = known ?? history.mix()
    const key = `${pod.memoryBytes} ${shapeKey(pod)}`
    const places = openings.get(key) ?? openingsFor(pod, pools)
    openings.set(key, places)
    const pressure = scarcity && pod.gpuUnits > 0 ? pressures(mix, book.freeGpuMilli) : null
    const place = choosePlace(places, mix, pressure)
    const [node] = place?.twins.nodes ?? []
    if (place && node !== undefined && book.reserve(`${index}`, node, place.need, place.fit.gpus)) {
      allocated += gpuMilliOf(pod)
      placed += 1
    }
    history.observe(pod)
    arrived += gpuMilliOf(pod)
    const load = LOADS[allocation.length]
    if (load && arrived >= (load / 100) * totalMilli)
      allocation.push((allocated / totalMilli) * 100)
  }
  return { allocation, placed }
}

/** Each GPU model is a pool: nodes of one model that have equal room are twins, whatever their size. */
function aFleet(nodes: readonly TraceNode[]) {
  const book = new CapacityBook()
  const pools = new Map<number, Pool>()
  for (const { name, cpuMilli, memoryBytes, gpus, kind } of nodes) {
    const pool = book.pool(`model ${kind}`)
    pools.set(kind, pool)
    const freeMilli = Array.from({ length: gpus }, () => 1000)
    book.set(name, pool, { cpuMilli, memoryBytes, supplies: [], gpus: [{ kind, freeMilli }] })
  }
  return { book, pools, totalMilli: book.freeGpuMilli.reduce((a, b) => a + b, 0) }
}

function openingsFor(pod: Pod, pools: ReadonlyMap<number, Pool>): Opening[] {
  const suitable = [...pools].filter(([kind]) => pod.kinds?.has(kind) ?? true)
  return suitable.map(([kind, pool]) => ({ pool, need: needOf(pod, kind) }))
}

const needOf = (pod: Pod, kind: number): Need => ({
  cpuMilli: pod.cpuMilli,
  memoryBytes: pod.memoryBytes,
  supplies: [],
  gpus: pod.gpuUnits === 0 ? [] : [{ kind, units: pod.gpuUnits, milli: pod.gpuMilli }],
})

/** As in the artifact, the whole trace is what is typical; memory plays no part in it. */
function countShapes(pods: readonly Pod[]) {
  const counts = new Map<string, Pod & { weight: number }>()
  for (const pod of pods) {
    const key = shapeKey(pod)
    const counted = counts.get(key) ?? { ...pod, weight: 0 }
    counted.weight += 1
    counts.set(key, counted)
  }
  return [...counts.values()]
}
