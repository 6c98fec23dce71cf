/** A GPU, or a slice of one, as the driver's own tool tells of it. A claim, not a proof. */
import type { Gpu } from '../../core/protocol/capacity.ts'

export type FoundGpu = {
  readonly vendor: 'nvidia' | 'amd'
  /** As the SDL writes it: `rtx4090`. `unknown` where the driver tells none; then there is a flaw. */
  readonly model: string
  /** Null where the driver does not say, as on boards that share the processor's memory. */
  readonly vramBytes: number | null
  readonly interface: Gpu['interface']
  /** Profile of the slice, as in `1g.10gb`; null for a whole GPU, and for a slice whose profile is not known. */
  readonly mig: string | null
  /** In the driver's order; slices have that of their GPU. */
  readonly index: number
  /** Null: a whole GPU; else the slice's place in it. */
  readonly slice: number | null
  readonly uuid: string | null
  /** PCI address: `00000000:0A:00.0`. */
  readonly busId: string | null
  readonly driver: string | null
  /** What a CDI spec may call it. The last is the surest: a place may be another's after a reboot, a UUID never. */
  readonly cdiNames: readonly string[]
  /** Why nobody can have it, whatever the engine; null: nothing is wrong with it. */
  readonly flaw: string | null
}

export type FoundGpus = {
  readonly gpus: readonly FoundGpu[]
  /** Of tools that are here and tell nothing: one line each. */
  readonly problems: readonly string[]
}

/** More is no output of a machine. Eight GPUs of the newest driver tell 0.5 MB. */
export const MAX_TOOL_CHARS = 8 * 2 ** 20
/** The largest machines have 16. */
export const MAX_GPUS = 64

export const MODEL_UNKNOWN = 'its driver does not say what it is'
export const MEMORY_UNKNOWN = 'its driver does not say how much memory it has'
