/** Where the traces are: beside the project, never in it. What is missing is named, with where it comes from. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Each file that a simulation reads, and whose it is. */
const DATA_FILES = {
  'azure-llm/AzureLLMInferenceTrace_conv.csv':
    'github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_conv.csv (CC-BY-4.0)',
  'mooncake/conversation_trace.jsonl':
    'github.com/kvcache-ai/Mooncake, FAST25-release/traces/conversation_trace.jsonl (Apache-2.0)',
  'alibaba-gpu-v2023/openb_pod_list_default.csv':
    'github.com/alibaba/clusterdata, cluster-trace-gpu-v2023/csv/openb_pod_list_default.csv',
  'salad-churn/uptime_hist.csv':
    'github.com/SaladTechnologies/performance-reliability-test-2025, its two histograms as kind,bin_lo_h,bin_hi_h,count',
  'bamboo-spot/p3-trace.csv': 'github.com/uclasystem/bamboo, traces/p3-trace.csv (MIT)',
  'prices/gpu_prices.csv':
    'github.com/skypilot-org/skypilot-catalog, catalogs/v8/vast as cloud,region,gpu,count,vram_gb,price_usd_h,…',
  'prices/savings.csv': 'list prices of the hyperscalers as gpu,hyperscaler_min,…',
} as const
type DataFile = keyof typeof DATA_FILES

/** A line for each file that is not there, with where to get it; none when all are. */
export function missingData(folder: string): string[] {
  const missing = names().filter((file) => !existsSync(join(folder, file)))
  return missing.map((file) => `${file}: ${DATA_FILES[file]}`)
}

export const readData = (folder: string, file: DataFile): string =>
  readFileSync(join(folder, file), 'utf8')

/** Rows by column name. No field of these files is quoted. */
export function csvRows(text: string): Record<string, string>[] {
  const [head = '', ...lines] = text.trim().split(/\r?\n/)
  const columns = head.split(',')
  return lines.map((line) => {
    const cells = line.split(',')
    return Object.fromEntries(columns.map((name, at) => [name, cells[at] ?? '']))
  })
}

const names = (): DataFile[] => Object.keys(DATA_FILES).filter(isDataFile)

const isDataFile = (name: string): name is DataFile => Object.hasOwn(DATA_FILES, name)
