/** One measurement: the client runs against a target, and the target's CPU time is read before and after. */
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { cpuMs } from './machine.ts'
import type { Setting, Target } from './targets.ts'

const loadSchema = z.object({
  /** Over the whole run, warm-up included, as the CPU time is. */
  allRequests: z.number(),
  allTokens: z.number(),
  failures: z.number(),
  requestsPerSecond: z.number(),
  tokensPerSecond: z.number(),
  p50Us: z.number(),
  p99Us: z.number(),
  firstP50Us: z.number(),
  firstP99Us: z.number(),
})
type Load = z.infer<typeof loadSchema>

/** The kinds of load; what each says is in `report.ts`. */
export type Scenario = 'request' | 'burst' | 'paced' | 'single' | 'singleStream'

export type Measurement = Load & {
  readonly target: Target['name']
  readonly scenario: Scenario
  readonly cpuUs: number
}

/** Connections, tokens an answer, and how: `-s` streamed, `-p` µs between tokens, `-w` seconds before counting. */
const SCENARIOS: Record<Scenario, readonly string[]> = {
  request: ['-c', '32', '-n', '48'],
  burst: ['-c', '32', '-n', '128', '-s'],
  paced: ['-c', '256', '-n', '100', '-s', '-p', '10000', '-w', '1.1'],
  single: ['-c', '1', '-n', '48', '-w', '0.1'],
  singleStream: ['-c', '1', '-n', '16', '-s', '-w', '0.1'],
}

/** Until receipts are signed, settled and acknowledged: that work belongs to the requests before it. The others have none. */
const SETTLE_MS = 350

export async function measure(
  setting: Setting,
  target: Target,
  scenario: Scenario,
  seconds: number,
): Promise<Measurement> {
  const { pid } = target.process
  const before = cpuMs(pid)
  const load = await runClient(setting, target, [...SCENARIOS[scenario], '-d', String(seconds)])
  if (target.name === 'baseload') await sleep(SETTLE_MS)
  const cpuUs = (cpuMs(pid) - before) * 1000
  if (load.failures > 0)
    throw new Error(
      `${target.name}, ${scenario}: ${load.failures} of ${load.allRequests} answers failed`,
    )
  return { ...load, target: target.name, scenario, cpuUs }
}

function runClient(
  { cores, tools }: Setting,
  { port, headers }: Target,
  args: readonly string[],
): Promise<Load> {
  const all = [String(port), ...args, ...headers.flatMap((header) => ['-H', header])]
  const client = spawn('taskset', ['-c', String(cores.load), tools.client, ...all])
  let out = ''
  let complaint = ''
  client.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  client.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  return new Promise((resolve, reject) => {
    client.on('error', reject)
    client.on('close', (status) => {
      if (complaint !== '') process.stderr.write(complaint)
      if (status === 0) resolve(loadSchema.parse(JSON.parse(out)))
      else reject(new Error(`the client ended with ${status}: ${complaint}`))
    })
  })
}
