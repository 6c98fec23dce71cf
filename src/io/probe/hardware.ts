/** What hardware a node has, as far as the system tells. A claim, not a proof. */
import { execFile } from 'node:child_process'
import { totalmem } from 'node:os'
import { readProcessor } from './machine-checks.ts'

export type Gpu = {
  readonly index: number
  readonly name: string
  readonly uuid: string
  /** Null where the driver does not say, as on shared-memory boards. */
  readonly memoryMiB: number | null
  readonly driver: string
}

export type Hardware = {
  readonly cpuModel: string
  readonly cores: number
  readonly memoryBytes: number
  readonly gpus: readonly Gpu[]
}

/** Never throws: a machine without nvidia-smi has no GPU that we know of. */
export async function detectHardware(
  askNvidia: () => Promise<string> = runNvidiaSmi,
): Promise<Hardware> {
  const { model, cores } = readProcessor()
  const csv = await askNvidia().catch(() => '')
  return { cpuModel: model, cores, memoryBytes: totalmem(), gpus: readGpus(csv) }
}

/** Comes with NVIDIA's driver. */
const NVIDIA_SMI = 'nvidia-smi'
const QUERY = 'index,name,uuid,memory.total,driver_version'

function runNvidiaSmi(): Promise<string> {
  const wanted = [`--query-gpu=${QUERY}`, '--format=csv,noheader,nounits']
  return new Promise((resolve, reject) => {
    // Some drivers take seconds to wake a GPU, and a broken one hangs for ever.
    execFile(NVIDIA_SMI, wanted, { timeout: 15_000, killSignal: 'SIGKILL' }, (error, stdout) => {
      if (error) reject(error)
      else resolve(stdout)
    })
  })
}

/** Lines that are no GPU (warnings, errors) are passed over. */
function readGpus(csv: string): Gpu[] {
  return csv.split('\n').flatMap((line) => {
    const fields = line.split(',').map((field) => field.trim())
    const [index = '', name = '', uuid = '', memory = '', driver = ''] = fields
    if (fields.length !== 5 || !/^\d+$/.test(index) || !uuid.startsWith('GPU-')) return []
    const memoryMiB = /^\d+$/.test(memory) ? Number(memory) : null
    return [{ index: Number(index), name, uuid, memoryMiB, driver }]
  })
}
