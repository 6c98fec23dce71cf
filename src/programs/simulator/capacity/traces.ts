/** What the traces say, in the simulation's units: requests, jobs, lifetimes, offers and list prices. */
import { HOUR } from './hours.ts'
import { csvRows, readData } from './data-folder.ts'
import { fitWeibull, type Run, type Weibull } from './weibull.ts'

export type TraceRequest = {
  /** Since the trace began. */
  readonly atMs: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** Equal for requests that share a beginning; 0: none known. */
  readonly prefix: number
}

export type RequestTrace = {
  readonly name: string
  readonly requests: readonly TraceRequest[]
  readonly spanMs: number
}

export type Job = {
  readonly cpuMilli: number
  readonly memoryBytes: number
  readonly gpus: number
  readonly lengthMs: number
}

/** A class of machines that somebody offers. */
export type Offered = {
  readonly gpu: string
  readonly region: string
  readonly gpus: number
  readonly vramGib: number
  /** USD an hour for one GPU. */
  readonly usd: number
}

/** The cheapest hyperscaler's on-demand price for one GPU of the kind, USD an hour. */
export type ListPrices = ReadonlyMap<string, number>

export type Traces = {
  /** Told with every figure: whose traces these are. */
  readonly source: string
  readonly requests: RequestTrace
  readonly jobs: readonly Job[]
  readonly life: Weibull
  /** Nodes that vanish at once, one entry for each time. */
  readonly batches: readonly number[]
  readonly offers: readonly Offered[]
  readonly lists: ListPrices
}

export const REQUEST_TRACES = ['azure', 'mooncake'] as const
export type RequestTraceName = (typeof REQUEST_TRACES)[number]

/** Throws what the file system throws: ask `missingData` first. */
export function readTraces(folder: string, requests: RequestTraceName): Traces {
  return {
    source: 'Azure, Mooncake, Alibaba, Salad, Bamboo and price lists of ../shared/data',
    requests: requests === 'azure' ? readAzure(folder) : readMooncake(folder),
    jobs: readJobs(readData(folder, 'alibaba-gpu-v2023/openb_pod_list_default.csv')),
    life: fitWeibull(readRuns(readData(folder, 'salad-churn/uptime_hist.csv'))),
    batches: readBatches(readData(folder, 'bamboo-spot/p3-trace.csv')),
    offers: readOffers(readData(folder, 'prices/gpu_prices.csv')),
    lists: readLists(readData(folder, 'prices/savings.csv')),
  }
}

/** `RTX 4090`, `RTX4090`, `rtx-4090` → `rtx4090`: models as the SDL writes them. */
export const gpuModelOf = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

function readAzure(folder: string): RequestTrace {
  const rows = csvRows(readData(folder, 'azure-llm/AzureLLMInferenceTrace_conv.csv'))
  const began = Date.parse(`${rows[0]?.['TIMESTAMP']}Z`)
  const requests = rows.map((row) => ({
    atMs: Date.parse(`${row['TIMESTAMP']}Z`) - began,
    inputTokens: Number(row['ContextTokens']),
    outputTokens: Math.max(1, Number(row['GeneratedTokens'])),
    prefix: 0,
  }))
  return { name: 'Azure 2023 conversation', requests, spanMs: (requests.at(-1)?.atMs ?? 0) + 1 }
}

function readMooncake(folder: string): RequestTrace {
  const lines = readData(folder, 'mooncake/conversation_trace.jsonl').trim().split('\n')
  const requests = lines.map((line): TraceRequest => {
    const one: {
      timestamp: number
      input_length: number
      output_length: number
      hash_ids: readonly number[]
    } = JSON.parse(line)
    return {
      atMs: one.timestamp,
      inputTokens: one.input_length,
      outputTokens: Math.max(1, one.output_length),
      // The first block is the same system prompt for nearly all; the second tells conversations apart.
      prefix: one.hash_ids[1] ?? 0,
    }
  })
  return { name: 'Mooncake conversation', requests, spanMs: (requests.at(-1)?.atMs ?? 0) + 1 }
}

/** Shares of a GPU become whole ones: the market leases nothing less. Jobs that never ran are left out. */
export function readJobs(text: string): Job[] {
  return csvRows(text)
    .map((row) => ({
      cpuMilli: Number(row['cpu_milli']),
      memoryBytes: Number(row['memory_mib']) * 2 ** 20,
      gpus: Number(row['num_gpu']),
      lengthMs: (Number(row['deletion_time']) - Number(row['scheduled_time'] || 'NaN')) * 1000,
    }))
    .filter(({ lengthMs }) => lengthMs > 0)
}

/** Runs at the middle of their bin; what is under `all` and not under `interrupted` was going on at the end. */
export function readRuns(text: string): Run[] {
  const rows = csvRows(text).map((row) => ({
    kind: row['kind'],
    ms: ((Number(row['bin_lo_h']) + Number(row['bin_hi_h'])) / 2) * HOUR,
    weight: Number(row['count']),
  }))
  const ended = rows.filter(({ kind }) => kind === 'interrupted')
  const all = rows.filter(({ kind }) => kind === 'all')
  const interrupted = ended.reduce((sum, { weight }) => sum + weight, 0)
  const still = all.reduce((sum, { weight }) => sum + weight, 0) - interrupted
  const hours = sumMs(all) - sumMs(ended)
  const runs = ended.map(({ ms, weight }) => ({ ms, weight, ended: true }))
  // The two histograms have other bins, so the runs that went on are known by number and sum only.
  return still > 0 ? [...runs, { ms: hours / still, weight: still, ended: false }] : runs
}

const sumMs = (rows: readonly { ms: number; weight: number }[]): number =>
  rows.reduce((sum, { ms, weight }) => sum + ms * weight, 0)

export function readBatches(text: string): number[] {
  const sizes = new Map<string, number>()
  for (const line of text.trim().split(/\r?\n/)) {
    const [ms = '', what] = line.split(',')
    if (what === 'remove') sizes.set(ms, (sizes.get(ms) ?? 0) + 1)
  }
  return [...sizes.values()]
}

/** The whole list of one open marketplace is how its machines are spread; others list what they would like to sell. */
export function readOffers(text: string): Offered[] {
  return csvRows(text)
    .filter((row) => row['cloud'] === 'vast' && Number(row['price_per_gpu_h']) > 0)
    .map((row) => ({
      gpu: gpuModelOf(row['gpu'] ?? '').replace(/^(h100|a100|h200)(sxm|nvl|pcie|40|80)$/, '$1'),
      region: regionOf(row['region'] ?? ''),
      gpus: Number(row['count']),
      vramGib: Number(row['vram_gb']),
      usd: Number(row['price_per_gpu_h']),
    }))
}

const EU = new Set(
  'AT BE BG CH CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LT LV NL NO PL PT RO SE SI SK'.split(' '),
)

/** Of a country, or a country and a state: `eu-de`, `us-wa`, `ap-jp`. */
function regionOf(place: string): string {
  const [country = '', state] = place.split('-')
  if (EU.has(country)) return `eu-${country.toLowerCase()}`
  if (country === 'US' || country === 'CA') return `us-${(state ?? country).toLowerCase()}`
  return `ap-${country.toLowerCase()}`
}

export function readLists(text: string): ListPrices {
  const lists = new Map<string, number>()
  for (const row of csvRows(text)) {
    const gpu = gpuModelOf(row['gpu'] ?? '')
      .replace(/^a100.*/, 'a100')
      .replace(/^a10g$/, 'a10')
    lists.set(gpu, Number(row['hyperscaler_min']))
  }
  return lists
}
