/** `profiles.compute`: what one copy of a service needs. */
import type { Resources } from '../protocol/resources.ts'
import { need, readAnyMapping, readMapping, readText, wrong } from './fields.ts'
import { readGpu } from './gpu.ts'
import { readCpuMilli } from './quantity.ts'
import type { Report } from './report.ts'
import { readSize } from './size.ts'
import { readStorage, type VolumeEntry } from './storage.ts'
import type { Place, Tree } from './yaml-tree.ts'

const MIN_CPU_MILLI = 10
const MAX_CPU_MILLI = 384_000
const MIN_MEMORY = 2 ** 20
const MAX_MEMORY = 2 * 2 ** 40

export type ComputeProfile = Omit<Resources, 'volumes'> & {
  readonly place: Place
  readonly name: string
  readonly volumes: readonly VolumeEntry[]
}

const EXAMPLE = 'resources: { cpu: { units: 1 }, memory: { size: 1Gi }, storage: [{ size: 1Gi }] }'

export function readComputeProfiles(
  report: Report,
  tree: Tree,
): ReadonlyMap<string, ComputeProfile> {
  const profiles = new Map<string, ComputeProfile>()
  for (const [name, value] of readAnyMapping(report, tree)?.entries ?? []) {
    const profile = readProfile(report, name, value)
    if (profile) profiles.set(name, profile)
  }
  return profiles
}

function readProfile(report: Report, name: string, tree: Tree): ComputeProfile | null {
  const outer = readMapping(report, tree, { known: ['resources'], example: EXAMPLE })
  const inner = outer && need(report, outer, 'resources', EXAMPLE)
  const known = ['cpu', 'memory', 'storage', 'gpu']
  const resources = inner && readMapping(report, inner, { known, example: EXAMPLE })
  if (!resources) return null
  const cpu = readCpu(report, need(report, resources, 'cpu', 'cpu: { units: 1 }'))
  const memory = readMemory(report, need(report, resources, 'memory', 'memory: { size: 1Gi }'))
  const storage = need(report, resources, 'storage', 'storage: [{ size: 1Gi }]')
  const volumes = storage ? readStorage(report, storage) : []
  const gpu = readGpu(report, resources.entries.get('gpu'))
  return { place: resources.place, name, ...cpu, memoryBytes: memory, volumes, gpu }
}

function readCpu(report: Report, tree: Tree | null): { cpuMilli: number; cpuArch: string | null } {
  const none = { cpuMilli: 0, cpuArch: null }
  const shape = { known: ['units', 'attributes'], strict: true, example: 'cpu: { units: 1 }' }
  const mapping = tree && readMapping(report, tree, shape)
  const units = mapping && need(report, mapping, 'units', 'units: 0.5')
  if (!mapping || !units) return none
  const cpu = units.kind === 'scalar' ? readCpuMilli(units.text) : null
  const allowed = '0.01 to 384 CPUs, or 10m to 384000m'
  if (!cpu) wrong(report, units, 'this is no number of CPUs', { allowed, example: 'units: 500m' })
  else if (cpu.value < MIN_CPU_MILLI || cpu.value > MAX_CPU_MILLI)
    wrong(report, units, 'so many CPUs cannot be had', { allowed, example: 'units: 500m' })
  else if (cpu.better !== null)
    report.warn(units.place, { message: `read as ${cpu.better}; Akash's CLI refuses it` })
  const attributes = mapping.entries.get('attributes')
  const inner = attributes && readMapping(report, attributes, { known: ['arch'], strict: true })
  return {
    cpuMilli: cpu?.value ?? 0,
    cpuArch: readText(report, inner?.entries.get('arch')) || null,
  }
}

function readMemory(report: Report, tree: Tree | null): number {
  const example = 'memory: { size: 1Gi }'
  const mapping = tree && readMapping(report, tree, { known: ['size'], example })
  const size = mapping && need(report, mapping, 'size', 'size: 1Gi')
  const limits = { min: MIN_MEMORY, max: MAX_MEMORY, example: 'size: 1Gi' }
  return (size && readSize(report, size, limits)) ?? 0
}
