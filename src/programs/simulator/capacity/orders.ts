/** What tenants order: the traces' jobs as groups, each with what it may cost. */
import { parseUsd } from '../../../core/base/money.ts'
import { rateOf } from '../../../core/base/rate.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { Job } from './traces.ts'
import type { World } from './world.ts'

/** 2,388 of the trace's 7,064 GPU pods name a model where it tells (openb_pod_list_gpuspec33.csv). */
const NAMES_A_MODEL = 2388 / 7064
/** A model without a list price may cost anything. */
const NO_CEILING_USD = 100

/** More different orders than a trace has; above that they are not kept. */
const MAX_GROUPS = 100_000

/** Equal orders are one object: a hundred thousand leases are of some thousand kinds. */
export class Groups {
  readonly #known = new Map<string, Group>()
  /** Who names a GPU pays up to its list price, who names none up to this. */
  readonly #anyCeiling: string

  constructor(anyUsdPerHour: number) {
    this.#anyCeiling = ceilingOf(anyUsdPerHour)
  }

  of(job: Job, { machines, random, settings }: World): Group {
    const named = job.gpus > 0 && random() < NAMES_A_MODEL
    const model = named
      ? (machines[Math.floor(random() * machines.length)]?.offered.gpu ?? null)
      : null
    const key = `${job.cpuMilli} ${job.memoryBytes} ${job.gpus} ${model ?? ''}`
    const known = this.#known.get(key)
    if (known) return known
    const list = model === null ? undefined : settings.traces.lists.get(model)
    const ceiling = model === null ? this.#anyCeiling : ceilingOf(list ?? NO_CEILING_USD)
    const group = groupOf(job, model, ceiling)
    if (this.#known.size < MAX_GROUPS) this.#known.set(key, group)
    return group
  }
}

function groupOf(
  { cpuMilli, memoryBytes, gpus }: Job,
  model: string | null,
  ceiling: string,
): Group {
  const usual = Math.max(1, gpus)
  const wish = { vendor: 'nvidia', model, ramBytes: null, interface: null }
  return {
    name: 'app',
    attributes: {},
    signedBy: { anyOf: [], allOf: [] },
    units: [
      {
        id: 1,
        resources: {
          // A machine of the marketplace is smaller than a data centre's: no more than it has for so many GPUs.
          cpuMilli: Math.max(1, Math.min(cpuMilli, usual * 16_000)),
          cpuArch: null,
          memoryBytes: Math.min(memoryBytes, usual * 64 * 2 ** 30),
          volumes: [],
          gpu: gpus === 0 ? null : { units: gpus, anyOf: [wish] },
        },
        count: 1,
        endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: 0 },
        maxRate: String(BigInt(ceiling) * BigInt(usual)),
      },
    ],
    minNoticeS: null,
  }
}

/** Atto-dollars a second, for one GPU. */
const ceilingOf = (usdPerHour: number): string =>
  String(rateOf(parseUsd(usdPerHour.toFixed(6)) ?? 0n, 'hour'))

/** GPU time of all jobs up to each. */
export function cumulated(jobs: readonly Job[]): Float64Array {
  let sum = 0
  return Float64Array.from(jobs, ({ gpus, lengthMs }) => (sum += gpus * lengthMs))
}

/** A job by the GPU time it takes: what one would meet looking at a random moment. */
export function drawn(jobs: readonly Job[], byWork: Float64Array, chance: number): Job {
  const wanted = chance * (byWork.at(-1) ?? 0)
  let [low, high] = [0, jobs.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((byWork[middle] ?? 0) <= wanted) low = middle + 1
    else high = middle
  }
  const job = jobs[low]
  if (!job) throw new RangeError('no job to draw: the trace is empty')
  return job
}
