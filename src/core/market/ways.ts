/** The ways in which a group can run: which kind of GPU for each unit, and what that takes of a node in total. */
import type { Gpu } from '../protocol/capacity.ts'
import type { Group } from '../protocol/group.ts'
import { diskOf, memoryBytesOf } from '../protocol/price-sheet.ts'
import type { GpuKinds } from './gpu-kinds.ts'
import { SUPPLIES, WHOLE_GPU_MILLI, type GpuNeed, type Need, type Supply } from './room.ts'
import type { Shape } from './workload-mix.ts'

export type Way = {
  /** For each unit, in the group's order; null where it wants none. */
  readonly gpus: readonly (Gpu | null)[]
  readonly need: Need
}

/** Mixtures of GPU kinds in one group are tried up to here; one kind for all units is always tried. */
const MAX_WAYS = 256

/** None when no GPU on the market will do for some unit. */
export function waysOf(group: Group, kinds: GpuKinds): Way[] {
  const { cpuMilli, memoryBytes, supplies } = amountsOf(group)
  const suiting = group.units.map(({ resources }) =>
    resources.gpu ? kinds.suiting(resources) : null,
  )
  return choicesOf(suiting).map((choice) => ({
    gpus: choice.map((kind) => (kind === null ? null : kinds.gpu(kind))),
    need: { cpuMilli, memoryBytes, supplies, gpus: gpuNeeds(group, choice) },
  }))
}

/** A GPU kind for each unit; null where it wants none. */
type Choice = readonly (number | null)[]

function choicesOf(suiting: readonly (readonly number[] | null)[]): Choice[] {
  const wanting = suiting.filter((kinds) => kinds !== null)
  const [first, another] = wanting
  if (!first) return [suiting.map(() => null)]
  const uniform = first
    .filter((kind) => wanting.every((kinds) => kinds === first || kinds.includes(kind)))
    .map((kind) => suiting.map((kinds) => kinds && kind))
  return another ? [...uniform, ...mixtures(suiting)] : uniform
}

function mixtures(suiting: readonly (readonly number[] | null)[]): Choice[] {
  let mixed: Choice[] = [[]]
  for (const kinds of suiting) {
    mixed = mixed.flatMap((before) => (kinds ?? [null]).map((kind) => [...before, kind]))
    mixed.length = Math.min(mixed.length, MAX_WAYS)
  }
  return mixed.filter((choice) => new Set(choice.filter((kind) => kind !== null)).size > 1)
}

function gpuNeeds(group: Group, choice: Choice): GpuNeed[] {
  const needs: GpuNeed[] = []
  for (const [i, kind] of choice.entries()) {
    const unit = group.units[i]
    if (kind === null || !unit?.resources.gpu) continue
    const units = unit.count * unit.resources.gpu.units
    const same = needs.findIndex((need) => need.kind === kind)
    const before = needs[same]?.units ?? 0
    const need = { kind, units: before + units, milli: WHOLE_GPU_MILLI }
    if (same < 0) needs.push(need)
    else needs[same] = need
  }
  return needs
}

/** All copies of all units, without the GPUs. */
export function amountsOf(group: Group): Omit<Need, 'gpus'> {
  let cpuMilli = 0
  let memoryBytes = 0
  const supplies = SUPPLIES.map(() => 0)
  const add = (supply: Supply, amount: number): void => {
    const at = SUPPLIES.indexOf(supply)
    supplies[at] = (supplies[at] ?? 0) + amount
  }
  for (const { resources, count, endpoints } of group.units) {
    cpuMilli += count * resources.cpuMilli
    memoryBytes += count * memoryBytesOf(resources)
    for (const volume of resources.volumes)
      if (volume.class !== 'ram') add(diskOf(volume), count * volume.bytes)
    add('ips', count * endpoints.leasedIp)
  }
  return { cpuMilli, memoryBytes, supplies }
}

/** GPUs that all copies of all units take. */
export const gpuCountOf = (group: Group): number =>
  group.units.reduce((sum, { count, resources }) => sum + count * (resources.gpu?.units ?? 0), 0)

/** What the history of orders remembers of a group: its kinds are those that alone can run all of it. */
export function shapeOf(group: Group, ways: readonly Way[], allKinds: number): Shape {
  const { cpuMilli } = amountsOf(group)
  const gpuUnits = gpuCountOf(group)
  if (gpuUnits === 0) return { cpuMilli, gpuUnits, gpuMilli: 0, kinds: null }
  const kinds = new Set<number>()
  for (const { need } of ways) {
    const [gpu, another] = need.gpus
    if (gpu && !another) kinds.add(gpu.kind)
  }
  const any = kinds.size === allKinds
  return { cpuMilli, gpuUnits, gpuMilli: WHOLE_GPU_MILLI, kinds: any ? null : kinds }
}
