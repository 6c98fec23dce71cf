/** Reads what `rocm-smi --json` tells. Its key names change over releases: `Card series` became `Card Series`. */
import { z } from 'zod'
import { MAX_GPUS, MAX_TOOL_CHARS, MEMORY_UNKNOWN, MODEL_UNKNOWN, type FoundGpu } from './gpu.ts'
import { gpuInterface, gpuModel } from './gpu-model.ts'

export const ROCM_FIELDS = [
  '--showid',
  '--showproductname',
  '--showuniqueid',
  '--showbus',
  '--showdriverversion',
  '--showmeminfo',
  'vram',
  '--json',
]

/**
 * Models by PCI device id, for releases that tell numbers only, or several names of one chip. From libdrm's
 * amdgpu.ids; of boards with the same id, the least.
 */
const BY_ID: Readonly<Record<string, string>> = {
  '73bf': 'rx6800',
  '73df': 'rx6700xt',
  '738c': 'mi100',
  '740c': 'mi250',
  '740f': 'mi210',
}

const outputSchema = z.record(z.string(), z.record(z.string(), z.string()))

/** No GPUs where the output is none of rocm-smi. */
export function readRocmJson(output: string): FoundGpu[] {
  const told = outputSchema.safeParse(parseJson(output))
  if (!told.success) return []
  const driver = tellerOf(told.data['system'] ?? {})('driver version') ?? null
  return Object.entries(told.data).flatMap(([card, fields]) => {
    const [, index] = /^card(\d{1,2})$/.exec(card) ?? []
    return index === undefined || Number(index) >= MAX_GPUS
      ? []
      : [amdGpu(Number(index), tellerOf(fields), driver)]
  })
}

/** Warnings may stand before and after. */
function parseJson(output: string): unknown {
  if (output.length > MAX_TOOL_CHARS) return null
  try {
    return JSON.parse(output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1))
  } catch {
    return null
  }
}

type Teller = (...keys: readonly string[]) => string | undefined

/** The first of these keys, in any case, that has a value. */
function tellerOf(fields: Readonly<Record<string, string>>): Teller {
  const byKey = new Map(
    Object.entries(fields).map(([key, value]) => [key.toLowerCase().trim(), value.trim()]),
  )
  return (...keys) =>
    keys
      .map((key) => byKey.get(key))
      .find((value) => value !== undefined && !/^(?:n\/a)?$/i.test(value))
}

function amdGpu(index: number, tell: Teller, driver: string | null): FoundGpu {
  const [, id = ''] =
    /^(?:0x)?([\da-f]{4})$/.exec(tell('device id', 'gpu id')?.toLowerCase() ?? '') ?? []
  const name = (tell('card series', 'device name', 'card model') ?? '').slice(0, 200)
  const model = modelOf(name, id)
  const bytes = tell('vram total memory (b)') ?? ''
  const vramBytes = /^[1-9]\d{0,14}$/.test(bytes) ? Number(bytes) : null
  const unique = tell('unique id')
  const uuid = unique !== undefined && /^0x[\da-f]{1,16}$/i.test(unique) ? unique : null
  return {
    vendor: 'amd',
    model: model ?? 'unknown',
    vramBytes,
    interface: model === null ? null : gpuInterface(name, model),
    mig: null,
    index,
    slice: null,
    uuid,
    busId: tell('pci bus') ?? null,
    driver,
    cdiNames: [String(index), ...(uuid === null ? [] : [uuid])].map((one) => `amd.com/gpu=${one}`),
    flaw: model === null ? MODEL_UNKNOWN : vramBytes === null ? MEMORY_UNKNOWN : null,
  }
}

/** `Navi 22 [Radeon RX 6700/6700 XT / 6800M]` leaves open which; the id may know, else it is the first, the least. */
function modelOf(name: string, id: string): string | null {
  const [first = ''] = name.replace(/^.*\[/, '').split(/\s*[/\]]/, 1)
  const named = /^0x/i.test(name) ? null : gpuModel(first)
  return named !== null && !name.includes('/') ? named : (BY_ID[id] ?? named)
}
