/** Asks the drivers' own tools which GPUs this machine has. No tool, no GPU. */
import { execFile } from 'node:child_process'
import { MAX_GPUS, MAX_TOOL_CHARS, type FoundGpu, type FoundGpus } from './gpu.ts'
import { readRocmJson, ROCM_FIELDS } from './gpu-amd.ts'
import { NVIDIA_FIELDS, readNvidiaCsv, readNvidiaXml } from './gpu-nvidia.ts'

/** `problem` in one line; null: this machine does not have the tool. */
export type ToolAnswer =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: string | null }

export type RunTool = (tool: string, args: readonly string[]) => Promise<ToolAnswer>

/** Never throws. Takes 3 s for each tool that hangs. */
export async function detectGpus(run: RunTool = runTool): Promise<FoundGpus> {
  const careful: RunTool = (tool, args) => run(tool, args).catch(failed)
  const all = await Promise.all([detectNvidia(careful), detectAmd(careful)])
  return {
    gpus: all.flatMap(({ gpus }) => gpus).slice(0, MAX_GPUS),
    problems: all.flatMap(({ problems }) => problems),
  }
}

const NVIDIA_SMI = 'nvidia-smi'
const ROCM_SMI = 'rocm-smi'
const NONE: FoundGpus = { gpus: [], problems: [] }

async function detectNvidia(run: RunTool): Promise<FoundGpus> {
  const xml = await run(NVIDIA_SMI, ['-q', '-x'])
  // One that fails or hangs would do so again.
  if (!xml.ok) return problemOf(NVIDIA_SMI, xml.problem)
  const gpus = readNvidiaXml(xml.text)
  if (gpus !== null) return await withSlices(run, gpus, (list) => readNvidiaXml(xml.text, list))
  const csv = await run(NVIDIA_SMI, [`--query-gpu=${NVIDIA_FIELDS}`, '--format=csv'])
  if (!csv.ok) return problemOf(NVIDIA_SMI, csv.problem)
  const listed = readNvidiaCsv(csv.text)
  if (listed.length === 0) return problemOf(NVIDIA_SMI, 'tells nothing that can be read')
  return await withSlices(run, listed, (list) => readNvidiaCsv(csv.text, list))
}

/** Slices are named only by `nvidia-smi -L`; asked for where a GPU is in slices, as a flaw shows until then. */
async function withSlices(
  run: RunTool,
  gpus: readonly FoundGpu[],
  again: (list: string) => FoundGpu[] | null,
): Promise<FoundGpus> {
  const isSliced = gpus.some(({ slice, flaw }) => slice !== null || flaw?.startsWith('MIG'))
  if (!isSliced) return { gpus, problems: [] }
  const list = await run(NVIDIA_SMI, ['-L'])
  return { gpus: (list.ok ? again(list.text) : null) ?? gpus, problems: [] }
}

async function detectAmd(run: RunTool): Promise<FoundGpus> {
  const json = await run(ROCM_SMI, ROCM_FIELDS)
  return json.ok
    ? { gpus: readRocmJson(json.text), problems: [] }
    : problemOf(ROCM_SMI, json.problem)
}

const problemOf = (tool: string, problem: string | null): FoundGpus =>
  problem === null ? NONE : { gpus: [], problems: [`${tool} ${problem}`] }

const failed = (): ToolAnswer => ({ ok: false, problem: 'could not be run' })

const TOOL_MS = 3_000

/** A broken driver can hang its tool so that nothing ends it: after 3 s nobody waits for it. */
export function runTool(
  tool: string,
  args: readonly string[],
  limitMs: number = TOOL_MS,
): Promise<ToolAnswer> {
  return new Promise((resolve) => {
    const options = { maxBuffer: MAX_TOOL_CHARS, env: { ...process.env, LC_ALL: 'C' } }
    const child = execFile(tool, [...args], options, (error, stdout, stderr) => {
      clearTimeout(timer)
      if (error === null) resolve({ ok: true, text: stdout })
      else if (error.code === 'ENOENT') resolve({ ok: false, problem: null })
      else resolve({ ok: false, problem: `failed: ${firstLine(stdout, stderr)}` })
    })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      child.stdout?.destroy()
      child.stderr?.destroy()
      child.unref()
      const why = `did not answer within ${limitMs / 1000} s; persistence mode keeps a driver awake`
      resolve({ ok: false, problem: why })
    }, limitMs)
  })
}

function firstLine(...outputs: readonly string[]): string {
  const lines = outputs.flatMap((output) => output.slice(0, 2_000).split('\n'))
  return (
    lines
      .map((line) => line.trim())
      .find((line) => line !== '')
      ?.slice(0, 200) ?? 'no output'
  )
}
