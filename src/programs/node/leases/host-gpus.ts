/**
 * Which of the machine's GPUs are leased out: those that the engine can hand to a container. A GPU that nobody could use
 * is not offered; why not is said in one line.
 */
import { access } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import {
  gpuKey,
  gpuName,
  MAX_GPU_KINDS_PER_NODE,
  MAX_GPUS_PER_KIND,
  type Gpu,
} from '../../../core/protocol/capacity.ts'
import type { Prices } from '../../../core/protocol/price-sheet.ts'
import { MEMORY_UNKNOWN, type FoundGpu } from '../../../io/probe/gpu.ts'
import { detectGpus, type RunTool } from '../../../io/probe/gpu-detect.ts'
import { cdiNames, readCdiSpecs, resolveCdi, type CdiSpec } from '../../../io/runtime/cdi.ts'
import type { HostGpu } from './room.ts'

type WithheldGpu = { readonly gpu: FoundGpu; readonly cause: string; readonly fix: string }

export type GpuOffer = {
  readonly gpus: readonly HostGpu[]
  readonly withheld: readonly WithheldGpu[]
  /** Of drivers that tell nothing, though they are here. */
  readonly problems: readonly string[]
}

type EngineCdi = {
  /** Where it reads specs; null: it has a CDI of its own, turned off. */
  readonly cdiFolders: readonly string[] | null
  /** The part of the machine that this node leases out. */
  readonly share: number
  /** Vendors whose GPUs this node's own engine computes on; none when left out. */
  readonly engineUses?: readonly FoundGpu['vendor'][]
}

/** Asks the drivers, and reads the specs only where there is a GPU. Never rejects. */
export async function findHostGpus(
  { cdiFolders, share, engineUses = [] }: EngineCdi,
  run?: RunTool,
): Promise<GpuOffer> {
  const { gpus: found, problems } = await detectGpus(run)
  const specs = cdiFolders === null || found.length === 0 ? null : await readCdiSpecs(cdiFolders)
  const gpus: HostGpu[] = []
  const withheld: WithheldGpu[] = []
  for (const gpu of found) {
    const isOnly = found.filter(({ vendor }) => vendor === gpu.vendor).length === 1
    const judged = await judge(gpu, specs, { share, engineUses, isOnly, offered: gpus })
    if ('cdi' in judged) gpus.push(judged)
    else withheld.push({ gpu, ...judged })
  }
  return { gpus, withheld, problems }
}

type Problem = { readonly cause: string; readonly fix: string }
type Others = {
  readonly share: number
  readonly engineUses: readonly FoundGpu['vendor'][]
  /** Of its vendor in this machine. */
  readonly isOnly: boolean
  readonly offered: readonly HostGpu[]
}

async function judge(
  gpu: FoundGpu,
  specs: readonly CdiSpec[] | null,
  others: Others,
): Promise<HostGpu | Problem> {
  const { vendor, model, vramBytes, interface: bus, mig } = gpu
  if (gpu.flaw !== null || vramBytes === null)
    return { cause: gpu.flaw ?? MEMORY_UNKNOWN, fix: 'look at it with the tool of its driver' }
  if (others.engineUses.includes(vendor))
    return {
      cause: "this node's own llama.cpp computes on it",
      fix: 'keep it for leases with --gpu none',
    }
  // Shares of one machine come to 1 at most, so only one node has more than half: no GPU is sold twice.
  if (others.share <= 0.5)
    return {
      cause: `this node has ${others.share} of the machine, and others might offer the same GPU`,
      fix: 'let one node have more than half (--lease-share)',
    }
  if (specs === null)
    return {
      cause: 'the engine has its CDI turned off',
      fix: 'set "features": {"cdi": true} in /etc/docker/daemon.json, and restart Docker',
    }
  const cdi = nameOf(gpu, specs, others)
  const fix = `run \`${GENERATE[vendor]}\``
  if (cdi === null) return { cause: 'no CDI spec has it, so no container can', fix }
  const missing = await missingPath(cdi, specs)
  if (missing !== null) return { cause: `its CDI spec is stale: there is no ${missing}`, fix }
  const kind: HostGpu = { vendor, model, vramBytes, interface: bus, mig, cdi }
  if (fits(kind, others.offered)) return kind
  return {
    cause: `an offer has at most ${MAX_GPU_KINDS_PER_NODE} kinds, and ${MAX_GPUS_PER_KIND} of each`,
    fix: 'cut fewer slices',
  }
}

/**
 * The plainest name: specs of all toolkits have it, so a lease that runs keeps its name over an upgrade. Unless a spec
 * that was made before GPUs were moved means another by it than by the UUID.
 */
function nameOf(
  { cdiNames: names, vendor }: FoundGpu,
  specs: readonly CdiSpec[],
  { isOnly, offered }: Others,
): string | null {
  const known = cdiNames(specs).filter((name) => !offered.some(({ cdi }) => cdi === name))
  const own = names.filter((name) => known.includes(name))
  const surest = own.at(-1)
  // Under Windows' Linux (WSL) a spec has no other name; safe where there is only one.
  const all = `${vendor}.com/gpu=all`
  if (surest === undefined) return isOnly && known.includes(all) ? all : null
  const meant = resolveCdi([surest], specs)
  return own.find((name) => isDeepStrictEqual(resolveCdi([name], specs), meant)) ?? surest
}

/** Of the vendors' container toolkits. */
const GENERATE = {
  nvidia: 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml',
  amd: 'amd-ctk cdi generate --output=/etc/cdi/amd.json',
}

/** Drivers leave the specs of their last version behind. */
async function missingPath(name: string, specs: readonly CdiSpec[]): Promise<string | null> {
  const { mounts, devices } = resolveCdi([name], specs)
  for (const { hostPath } of [...devices, ...mounts]) {
    const isThere = await access(hostPath).then(
      () => true,
      () => false,
    )
    if (!isThere) return hostPath
  }
  return null
}

function fits(kind: Gpu, offered: readonly HostGpu[]): boolean {
  const kinds = new Set([...offered, kind].map(gpuKey))
  const same = offered.filter((other) => gpuKey(other) === gpuKey(kind))
  return kinds.size <= MAX_GPU_KINDS_PER_NODE && same.length < MAX_GPUS_PER_KIND
}

/** One line for each reason, for the provider. */
export function withheldWords({ withheld, problems }: GpuOffer): string[] {
  const byReason = new Map<string, string[]>()
  for (const { gpu, cause, fix } of withheld) {
    const reason = `${cause}; ${fix}`
    byReason.set(reason, [...(byReason.get(reason) ?? []), foundGpuName(gpu)])
  }
  return [
    ...problems.map((problem) => `no GPU offered: ${problem}`),
    ...[...byReason].map(
      ([reason, names]) =>
        `not offered: ${names.length > 1 ? `${names.length} GPUs, ` : 'GPU '}${[...new Set(names)].join(', ')}: ${reason}`,
    ),
  ]
}

/** `nvidia a100 40 GiB sxm`, also of one that does not tell all of it. */
export function foundGpuName(gpu: FoundGpu): string {
  const { vendor, model, vramBytes, mig, interface: bus } = gpu
  return vramBytes === null
    ? `${vendor} ${model}`
    : gpuName({ vendor, model, vramBytes, mig, interface: bus })
}

/** One line for each kind that the price sheet has no price for: it is in the offer, and wins no order. */
export const unpricedWords = (gpus: readonly Gpu[], prices: Prices): string[] =>
  gpus
    .filter((gpu) => prices.gpu(gpu) === null)
    .map(
      (gpu) =>
        `not sold before it has a price: GPU ${gpuName(gpu)}; set gpu.${gpu.model} in lease-prices`,
    )
