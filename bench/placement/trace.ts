/** Alibaba's GPU cluster trace of 2023 as the fragmentation gradient descent paper replays it. */
import { existsSync, readFileSync } from 'node:fs'
import { seededRandom, type Random } from '../../src/core/base/random.ts'
import type { Shape } from '../../src/core/market/workload-mix.ts'

/** Beside the repository: 100 MB of other people's data have no place in it. */
const folder = ['../../../shared/data/', '../../../../shared/data/']
  .map((path) => new URL(`${path}alibaba-gpu-v2023/`, import.meta.url))
  .find((url) => existsSync(url))

export const hasTraces = folder !== undefined

const MODELS = ['A10', 'G2', 'G3', 'P100', 'T4', 'V100M16', 'V100M32']
const MIB = 2 ** 20

export type TraceNode = {
  readonly name: string
  readonly cpuMilli: number
  readonly memoryBytes: number
  readonly gpus: number
  readonly kind: number
}

export type Pod = Shape & { readonly memoryBytes: number }

export const readNodes = (): TraceNode[] =>
  readCsv('openb_node_list_gpu_node.csv').map((row) => ({
    name: row['sn'] ?? '',
    cpuMilli: Number(row['cpu_milli']),
    memoryBytes: Number(row['memory_mib']) * MIB,
    gpus: Number(row['gpu']),
    kind: MODELS.indexOf(row['model'] ?? ''),
  }))

export const readPods = (trace: string): Pod[] =>
  readCsv(`openb_pod_list_${trace}.csv`).map((row) => ({
    cpuMilli: Number(row['cpu_milli']),
    memoryBytes: Number(row['memory_mib']) * MIB,
    gpuUnits: Number(row['num_gpu']),
    gpuMilli: Number(row['num_gpu']) === 0 ? 0 : Number(row['gpu_milli']),
    kinds: kindsOf(row['gpu_spec'] ?? ''),
  }))

const kindsOf = (spec: string): ReadonlySet<number> | null =>
  spec === '' ? null : new Set(spec.split('|').map((model) => MODELS.indexOf(model)))

function readCsv(file: string): Record<string, string>[] {
  if (!folder) throw new Error('no traces')
  const [head = '', ...lines] = readFileSync(new URL(file, folder), 'utf8').trim().split(/\r?\n/)
  const names = head.split(',')
  return lines.map((line) => {
    const cells = line.split(',')
    return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']))
  })
}

export const gpuMilliOf = (pod: Shape): number => pod.gpuUnits * pod.gpuMilli

/** The paper's protocol: all pods in random order, then random ones again until `upToMilli` have arrived. */
export function arrivals(pods: readonly Pod[], upToMilli: number, seed: number): Pod[] {
  const random = seededRandom(seed)
  const order = shuffled(pods, random)
  let milli = order.reduce((sum, pod) => sum + gpuMilliOf(pod), 0)
  while (milli < upToMilli) {
    const pod = pods[Math.floor(random() * pods.length)]
    if (!pod) break
    order.push(pod)
    milli += gpuMilliOf(pod)
  }
  return order
}

export function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const [a, b] = [order[last], order[other]]
    if (a !== undefined && b !== undefined) [order[last], order[other]] = [b, a]
  }
  return order
}
