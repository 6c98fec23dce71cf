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

/** A machine has one kind of GPU or two: whoever mixes more kinds in one group does not get every mixture tried. */
export const MAX_WAYS = 256

/** None when no GPU on the market will do for some unit. */
export function waysOf(group: Group, kinds: GpuKinds): Way[] {
  let choices: (number | null)[][] = [[]]
  for (const { resources } of group.units) {
    const suiting: (number | null)[] = resources.gpu ? kinds.suiting(resources) : [null]
    choices = choices.flatMap((before) => suiting.map((kind) => [...before, kind]))
    choices.length = Math.min(choices.length, MAX_WAYS)
  }
  const base = { ...amountsOf(group), gpus: [] }
  return choices.map((choice) => ({
    gpus: choice.map((kind) => (kind === null ? null : kinds.gpu(kind))),
    need: { ...base, gpus: gpuNeeds(group, choice) },
  }))
}

function gpuNeeds(group: Group, choice: readonly (number | null)[]): GpuNeed[] {
  const units = new Map<number, number>()
  for (const [i, kind] of choice.entries()) {
    const unit = group.units[i]
    if (kind === null || !unit?.resources.gpu) continue
    units.set(kind, (units.get(kind) ?? 0) + unit.count * unit.resources.gpu.units)
  }
  return [...units].map(([kind, count]) => ({ kind, units: count, milli: WHOLE_GPU_MILLI }))
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

/** What the history of orders remembers of it: kinds are those that each unit with GPUs accepts. */
export function shapeOf(group: Group, kinds: GpuKinds): Shape {
  const gpuUnits = gpuCountOf(group)
  const { cpuMilli } = amountsOf(group)
  if (gpuUnits === 0) return { cpuMilli, gpuUnits, gpuMilli: 0, kinds: null }
  const accepted = group.units
    .filter(({ resources }) => resources.gpu)
    .map(({ resources }) => new Set(kinds.suiting(resources)))
  const [first = new Set<number>(), ...others] = accepted
  const common = new Set([...first].filter((kind) => others.every((set) => set.has(kind))))
  return {
    cpuMilli,
    gpuUnits,
    gpuMilli: WHOLE_GPU_MILLI,
    kinds: common.size === kinds.size ? null : common,
  }
}
