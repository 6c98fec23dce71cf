/** Capacity: what a node has to lease out, as its offer tells it. Totals; what is free now is another message. */
import { z } from 'zod'
import { STORAGE_CLASSES, type GpuModel } from './resources.ts'
import { TIERS } from './tier.ts'

/** Kinds of GPU in one machine: mixed ones have two or three, slices of each size add some. */
export const MAX_GPU_KINDS_PER_NODE = 16
/** Eight GPUs cut into seven slices each are 56. */
export const MAX_GPUS_PER_KIND = 64
/** Enough for what a machine says of itself; keeps matching short. */
export const MAX_ATTRIBUTES = 100
/** The images that matter for speed, not the whole disk. */
export const MAX_CACHED_IMAGES = 256

/** From the container runtime's own kernel sharing to a virtual machine each: weakest first. */
export const ISOLATION_LEVELS = ['container', 'gvisor', 'vm'] as const

const word = z.string().max(100)
/** GPU vendors and models as the SDL writes them: `nvidia`, `rtx4090`. */
const gpuWord = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,59}$/)
const bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

export const gpuSchema = z.strictObject({
  vendor: gpuWord,
  model: gpuWord,
  vramBytes: bytes,
  /** Null: neither is known. */
  interface: z.enum(['pcie', 'sxm']).nullable(),
  /** Null: the whole GPU; else the profile of the slice, as in `1g.10gb`. */
  mig: gpuWord.nullable(),
})
/** One kind of GPU, or of slice of one. */
export type Gpu = z.infer<typeof gpuSchema>

const offeredGpuSchema = gpuSchema.extend({ count: z.int().min(1).max(MAX_GPUS_PER_KIND) })

export const capacitySchema = z.strictObject({
  /** Name and version: `docker/27.3.1`. */
  runtime: word.min(1),
  isolation: z.enum(ISOLATION_LEVELS),
  /** `amd64`, `arm64`. */
  cpuArch: word.min(1),
  cpuMilli: z.int().min(0).max(10_000_000),
  memoryBytes: bytes,
  /** For containers and what they write. */
  ephemeralBytes: bytes,
  /** Space that outlives a container. */
  persistent: z
    .array(z.strictObject({ class: z.enum(STORAGE_CLASSES).exclude(['ram']), bytes }))
    .max(STORAGE_CLASSES.length)
    .refine(
      hasNoTwins((one: { class: string }) => one.class),
      { message: 'each class once' },
    ),
  gpus: z
    .array(offeredGpuSchema)
    .max(MAX_GPU_KINDS_PER_NODE)
    .refine(hasNoTwins(gpuKey), { message: 'each kind of GPU once' }),
  /** Public IP addresses that leases may have. */
  ips: z.int().min(0).max(65_535),
  /** What the provider says of it: `region`, `host`, `organization`, … */
  attributes: z.record(word, word).refine((all) => Object.keys(all).length <= MAX_ATTRIBUTES, {
    message: `at most ${MAX_ATTRIBUTES} attributes`,
  }),
  tier: z.enum(TIERS),
  region: z.string().max(40).nullable(),
  egress: z.strictObject({
    mbitPerSecond: z.int().min(0).max(10_000_000),
    /** Null: not limited. */
    gibPerMonth: z.int().min(0).max(1_000_000_000).nullable(),
  }),
  cachedImages: z.array(z.string().max(300)).max(MAX_CACHED_IMAGES),
  /** How long before it closes a lease the node tells the tenant: a month at most. */
  noticeS: z.int().min(0).max(2_629_800),
})
export type Capacity = z.infer<typeof capacitySchema>

/** What is free just now of an offer's capacity, its lists in the offer's order: leases of all gateways are taken off. */
export const freeRoomSchema = z.object({
  cpuMilli: z.int().min(0),
  memoryBytes: bytes,
  ephemeralBytes: bytes,
  persistentBytes: z.array(bytes).max(STORAGE_CLASSES.length),
  gpus: z.array(z.int().min(0)).max(MAX_GPU_KINDS_PER_NODE),
})
export type FreeRoom = z.infer<typeof freeRoomSchema>

/** Equal keys, equal kinds. */
export function gpuKey(gpu: Gpu): string {
  const { vendor, model, vramBytes, interface: bus, mig } = gpu
  return `${vendor}/${model}/${vramBytes}/${bus ?? ''}/${mig ?? ''}`
}

/** `nvidia a100 80 GiB sxm`, as people are told which GPU runs. */
export function gpuName(gpu: Gpu): string {
  const slice = gpu.mig === null ? [] : [gpu.mig]
  const memory = `${vramGib(gpu.vramBytes)} GiB`
  return [gpu.vendor, gpu.model, ...slice, memory, gpu.interface ?? ''].join(' ').trimEnd()
}

/**
 * What a GPU tells is a little less than what it is sold as: an H100 80 GB 81,559 MiB, an A10 24 GB with error
 * correction 23,028. All known ones lie within the 7 % that are between a GB and a GiB.
 */
const TOLD_OF_SOLD = 0.93
const SOLD_GIB = [
  2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256,
  288,
]

/** The size that a GPU with so much memory is sold as, in GiB; what it tells where no such size is known. */
export function vramGib(vramBytes: number): number {
  const told = vramBytes / 2 ** 30
  const sizes = SOLD_GIB.filter((sold) => told >= sold * TOLD_OF_SOLD && told <= sold * 1.01)
  const [nearest] = sizes.toSorted((a, b) => Math.abs(a - told) - Math.abs(b - told))
  return nearest ?? Math.round(told)
}

/**
 * Whether this GPU will do. Memory is a minimum. A slice only does for who names the memory: whoever names none
 * expects a whole GPU.
 */
export function gpuMeets(gpu: Gpu, wanted: GpuModel): boolean {
  if (gpu.vendor !== wanted.vendor) return false
  if (wanted.model !== null && gpu.model !== wanted.model) return false
  if (wanted.interface !== null && gpu.interface !== wanted.interface) return false
  if (wanted.ramBytes === null) return gpu.mig === null
  return gpu.vramBytes >= wanted.ramBytes * TOLD_OF_SOLD
}

function hasNoTwins<Item>(keyOf: (item: Item) => string): (items: readonly Item[]) => boolean {
  return (items) => new Set(items.map(keyOf)).size === items.length
}
