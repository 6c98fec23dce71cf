/**
 * `npm run bench:scale -- [--quick]`: what a large network costs a gateway. 50 streamed answers a second against 5,600 linked
 * nodes and against 3, in turns; then one gateway against two over one database, each with its own 50 a second.
 *
 * Gateways have a core for themselves, everything else shares another. Medians over the rounds; bars fail the run.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  newDatabase,
  type Gateway,
  newTenant,
  startGateway,
  startNodes,
  startPostgres,
} from './gateway/baseload.ts'
import { cpuMs, isBusy, load, residentMB, takeCores } from './gateway/machine.ts'
import { killAll, type Started } from './gateway/processes.ts'
import type { Place } from './gateway/targets.ts'
import { streamSteadily } from './scale/load.ts'

const MANY = 5_600
const FEW = 3
const LINKS_PER_PROCESS = 2_800
const PER_SECOND = 50
/** Until the last receipts are settled: that work belongs to the answers before it. */
const SETTLE_MS = 500

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const plan = flags.quick
  ? { rounds: 1, warmUp: 3, seconds: 5 }
  : { rounds: 3, warmUp: 10, seconds: 20 }
const say = (line: string): void => void process.stderr.write(`  · ${line}\n`)

process.once('exit', killAll)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const folder = mkdtempSync(join(tmpdir(), 'baseload-scale-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const place: Place = { cores: takeCores(), folder, profileFolder: null }
const database = await startPostgres(place)
try {
  process.exitCode = await run()
} finally {
  killAll()
  await database.stop()
}

type Seen = { readonly p99Ms: number; readonly residentMB: number; readonly cpuUs: number }

/** So many gateways over one database, each with so many nodes and 50 answers a second. */
async function measure(name: string, gateways: number, nodes: number): Promise<Seen> {
  say(`${name}: ${gateways} gateway(s), ${nodes} nodes each …`)
  const url = await newDatabase(database, name)
  const key = await newTenant(url)
  const started: Started[] = []
  const running: Gateway[] = []
  for (let i = 0; i < gateways; i++) {
    const gateway = await startGateway(place, url, `${name}-${i}`)
    running.push(gateway)
    for (let left = nodes; left > 0; left -= LINKS_PER_PROCESS)
      started.push(await startNodes(place, gateway.port, Math.min(left, LINKS_PER_PROCESS)))
  }
  const stream = async (seconds: number) =>
    (
      await Promise.all(
        running.map(({ port }) => streamSteadily({ port, key, perSecond: PER_SECOND, seconds })),
      )
    ).flat()
  await stream(plan.warmUp)
  const cpu = () => running.reduce((sum, { process: { pid } }) => sum + cpuMs(pid), 0)
  const before = cpu()
  const latencies = await stream(plan.seconds)
  await sleep(SETTLE_MS)
  const cpuUs = ((cpu() - before) * 1000) / latencies.length
  const resident = Math.max(...running.map(({ process: { pid } }) => residentMB(pid)))
  await Promise.all(running.map((gateway) => gateway.process.stop()))
  await Promise.all(started.map((one) => one.stop()))
  const sorted = latencies.toSorted((a, b) => a - b)
  return { p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? NaN, residentMB: resident, cpuUs }
}

/** Returns the exit code. */
async function run(): Promise<number> {
  const loadBefore = load()
  const rounds = []
  for (let i = 1; i <= plan.rounds; i++)
    rounds.push({
      few: await measure(`few${i}`, 1, FEW),
      many: await measure(`many${i}`, 1, MANY),
      one: await measure(`one${i}`, 1, FEW),
      two: await measure(`two${i}`, 2, FEW),
    })
  const bars = [
    bar(
      'added first-token p99, 5,600 nodes over 3',
      'ms',
      2,
      rounds.map(({ few, many }) => many.p99Ms - few.p99Ms),
    ),
    bar(
      'memory with 5,600 nodes',
      'MB',
      400,
      rounds.map(({ many }) => many.residentMB),
    ),
    bar(
      'CPU a request, two gateways over one',
      'x',
      1.1,
      rounds.map(({ one, two }) => two.cpuUs / one.cpuUs),
    ),
  ]
  for (const { name, unit, value, most, pass } of bars)
    process.stdout.write(
      `${pass ? 'pass' : 'FAIL'}  ${name}: ${value.toFixed(2)} ${unit} (at most ${most})\n`,
    )
  const requests = rounds.length * PER_SECOND * plan.seconds
  process.stdout.write(
    `n = ${rounds.length} rounds, ${requests} answers of each kind a round set; load average ${loadBefore.toFixed(1)} before and ${load().toFixed(1)} after\n`,
  )
  if (isBusy()) say('WARNING: the machine has other work; latencies wander')
  process.stdout.write(
    `${JSON.stringify({ bench: 'scale', pass: bars.every(({ pass }) => pass), bars, rounds })}\n`,
  )
  return bars.every(({ pass }) => pass) ? 0 : 1
}

function bar(name: string, unit: string, most: number, values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  const value = sorted[Math.floor(sorted.length / 2)] ?? NaN
  return { name, unit, value, most, pass: value <= most }
}
