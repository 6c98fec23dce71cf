/** What one copy of a service needs of a machine: the SDL names it, an order carries it, a node reserves it. */
import { z } from 'zod'

export const STORAGE_CLASSES = ['default', 'beta1', 'beta2', 'beta3', 'ram'] as const
export type StorageClass = (typeof STORAGE_CLASSES)[number]

/** 32 TiB and more fit well into a double. */
const bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
const word = z.string().max(100)

const volumeSchema = z.strictObject({
  name: word,
  bytes,
  /** Outlives the container. Never of class `ram`. */
  persistent: z.boolean(),
  class: z.enum(STORAGE_CLASSES),
})
/** Ephemeral space is `persistent: false, class: 'default'`; shared memory is class `ram`. */
export type Volume = z.infer<typeof volumeSchema>

const gpuModelSchema = z.strictObject({
  vendor: word,
  /** As in `rtx4090`, `h100`; null: any of this vendor. */
  model: word.nullable(),
  ramBytes: bytes.nullable(),
  interface: z.enum(['pcie', 'sxm']).nullable(),
})
/** One GPU that will do. */
export type GpuModel = z.infer<typeof gpuModelSchema>

export const resourcesSchema = z.strictObject({
  cpuMilli: z.int().min(1).max(384_000),
  cpuArch: word.nullable(),
  memoryBytes: bytes,
  volumes: z.array(volumeSchema).max(16),
  gpu: z
    .strictObject({
      units: z.int().min(1).max(24),
      /** Any of these, all units of one kind. */
      anyOf: z.array(gpuModelSchema).min(1).max(64),
    })
    .nullable(),
})
export type Resources = z.infer<typeof resourcesSchema>
