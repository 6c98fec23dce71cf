/**
 * What tenants typically ask for, as shares of orders: what fragmentation and scarcity are measured against.
 * Shapes beyond the most frequent 95 % are left out, as in the fragmentation gradient descent paper's artifact.
 */
import { WHOLE_GPU_MILLI, type Room } from './room.ts'

export type Shape = {
  readonly cpuMilli: number
  readonly gpuUnits: number
  /** Of each unit. */
  readonly gpuMilli: number
  /** GPU kinds that will do; null: any. */
  readonly kinds: ReadonlySet<number> | null
}

export type WeightedShape = Shape & { readonly weight: number }

/** Demand that accepts the same GPU kinds, as a share of all demand for GPUs. */
export type Appetite = { readonly kinds: ReadonlySet<number> | null; readonly share: number }

const TYPICAL_SHARE = 0.95

/** Shapes with the same GPUs: how many of them a node can run depends on its CPU only. */
type GpuGroup = {
  readonly units: number
  readonly milli: number
  /** Ascending. */
  readonly cpuMilli: readonly number[]
  /** Shares of all shapes up to each. */
  readonly shares: readonly number[]
}

export class WorkloadMix {
  readonly appetites: readonly Appetite[]
  readonly #typical: readonly WeightedShape[]
  readonly #groups = new Map<number, readonly GpuGroup[]>()

  constructor(shapes: readonly WeightedShape[]) {
    this.appetites = appetitesOf(shapes)
    this.#typical = typicalOf(shapes)
  }

  /**
   * Thousandths of idle GPUs that a typical order cannot use here: F in "Beware of Fragmentation: Scheduling
   * GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), section 4.2.
   */
  fragmentedMilli(room: Room): number {
    let fragmented = 0
    for (const pool of room.gpus) {
      const gpus = pool.freeMilli
      let idle = 0
      let whole = 0
      for (const free of gpus) {
        idle += free
        if (free === WHOLE_GPU_MILLI) whole++
      }
      if (idle === 0) continue
      let usable = 0
      for (const group of this.#groupsFor(pool.kind)) {
        const share = shareWithin(group, room.cpuMilli)
        if (share > 0) usable += share * usableMilli(group, gpus, whole)
      }
      fragmented += idle - usable
    }
    return fragmented
  }

  #groupsFor(kind: number): readonly GpuGroup[] {
    const known = this.#groups.get(kind)
    if (known) return known
    const groups = groupByGpus(this.#typical.filter(({ kinds }) => kinds?.has(kind) ?? true))
    this.#groups.set(kind, groups)
    return groups
  }
}

function usableMilli(group: GpuGroup, gpus: readonly number[], whole: number): number {
  if (group.milli === WHOLE_GPU_MILLI) return whole >= group.units ? whole * WHOLE_GPU_MILLI : 0
  let usable = 0
  for (const free of gpus) if (free >= group.milli) usable += free
  return usable
}

/** The share of the group's shapes that so much CPU is enough for. */
function shareWithin(group: GpuGroup, cpuMilli: number): number {
  let low = 0
  let high = group.cpuMilli.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((group.cpuMilli[middle] ?? 0) <= cpuMilli) low = middle + 1
    else high = middle
  }
  return low === 0 ? 0 : (group.shares[low - 1] ?? 0)
}

/** The most frequent shapes that make up 95 %, their weights as shares of one. */
function typicalOf(shapes: readonly WeightedShape[]): readonly WeightedShape[] {
  const total = sum(shapes.map(({ weight }) => weight))
  const typical: WeightedShape[] = []
  let seen = 0
  for (const shape of shapes.toSorted((a, b) => b.weight - a.weight)) {
    if (seen >= TYPICAL_SHARE * total) break
    seen += shape.weight
    typical.push(shape)
  }
  return typical.map((shape) => ({ ...shape, weight: shape.weight / seen }))
}

function groupByGpus(shapes: readonly WeightedShape[]): GpuGroup[] {
  const byGpus = new Map<string, WeightedShape[]>()
  for (const shape of shapes) {
    if (shape.gpuUnits === 0) continue
    const key = `${shape.gpuUnits} ${shape.gpuMilli}`
    const alike = byGpus.get(key)
    if (alike) alike.push(shape)
    else byGpus.set(key, [shape])
  }
  return [...byGpus.values()].map((alike) => {
    const sorted = alike.toSorted((a, b) => a.cpuMilli - b.cpuMilli)
    let share = 0
    return {
      units: sorted[0]?.gpuUnits ?? 0,
      milli: sorted[0]?.gpuMilli ?? 0,
      cpuMilli: sorted.map(({ cpuMilli }) => cpuMilli),
      shares: sorted.map(({ weight }) => (share += weight)),
    }
  })
}

function appetitesOf(shapes: readonly WeightedShape[]): Appetite[] {
  const demand = (shape: WeightedShape) => shape.weight * shape.gpuUnits * shape.gpuMilli
  const total = sum(shapes.map(demand))
  const byKinds = new Map<string, { kinds: ReadonlySet<number> | null; share: number }>()
  for (const shape of shapes) {
    if (shape.gpuUnits === 0) continue
    const key = shape.kinds ? [...shape.kinds].toSorted((a, b) => a - b).join() : 'any'
    const appetite = byKinds.get(key) ?? { kinds: shape.kinds, share: 0 }
    appetite.share += demand(shape) / total
    byKinds.set(key, appetite)
  }
  return [...byKinds.values()]
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
