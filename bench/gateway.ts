/**
 * `npm run bench:gateway -- [--quick] [--install] [--profile FOLDER]`: what a gateway costs and adds, side by side in one run:
 * straight to an upstream mock, through HAProxy, through Portkey, and through Baseload with authentication,
 * routing, metering, receipts and a durable ledger on.
 *
 * The gateway under test has a core for itself, everything else shares another. CPU is what the kernel
 * charged to all of its threads until the last receipt was settled. Targets take turns, and medians over
 * the rounds are compared as ratios, so that a machine with other work on it tilts all of them alike.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  LINKS_UNDER_LOAD,
  settledReceipts,
  startBaseload,
  startPostgres,
} from './gateway/baseload.ts'
import { IDLE_LINKS, measureIdleLinks, type IdleLinks } from './gateway/idle-links.ts'
import { isBusy, load, takeCores } from './gateway/machine.ts'
import { measure, type Measurement, type Scenario } from './gateway/measure.ts'
import { killAll } from './gateway/processes.ts'
import { barLine, barsOf, clears, figuresOf, table } from './gateway/report.ts'
import {
  startHaproxy,
  startPortkey,
  startUpstream,
  type Setting,
  type Target,
} from './gateway/targets.ts'
import { findTools } from './gateway/tools.ts'

type Plan = {
  readonly rounds: number
  /** Seconds of each measurement, by scenario; a scenario that is not here is left out. */
  readonly seconds: Partial<Record<Scenario, number>>
  /** What the upstream itself is asked: its latencies are taken off the others', the rest is for comparison. */
  readonly direct: readonly Scenario[]
  /** Seconds for each target before anything counts: compilers of JavaScript need some thousand requests. */
  readonly warmUp: Record<Target['name'], number>
  readonly idleSettleMs: number
}

const FULL: Plan = {
  rounds: 5,
  seconds: { request: 2, burst: 2, paced: 2.5, single: 1.5, singleStream: 1 },
  direct: ['request', 'burst', 'paced', 'single', 'singleStream'],
  warmUp: { direct: 1, haproxy: 1, portkey: 20, baseload: 10 },
  idleSettleMs: 8_000,
}

const QUICK: Plan = {
  rounds: 2,
  seconds: { request: 0.8, burst: 0.8, single: 0.4, singleStream: 0.3 },
  direct: ['single', 'singleStream'],
  warmUp: { direct: 0.1, haproxy: 0.1, portkey: 2.5, baseload: 4 },
  idleSettleMs: 2_000,
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    install: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})
const say = (line: string): void => void process.stderr.write(`  · ${line}\n`)

process.once('exit', killAll)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const folder = mkdtempSync(join(tmpdir(), 'baseload-bench-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
process.exitCode = await compare(flags.quick ? QUICK : FULL)

/** Returns the exit code. */
async function compare(plan: Plan): Promise<number> {
  const tools = findTools(flags.install, say)
  const cores = takeCores()
  const setting: Setting = { cores, tools, folder, profileFolder: flags.profile ?? null }
  const busyBefore = isBusy()
  const loadBefore = load()
  say('starting PostgreSQL …')
  const database = await startPostgres(setting)
  try {
    say(`linking ${IDLE_LINKS} nodes …`)
    const idle = await measureIdleLinks(setting, database, plan.idleSettleMs)
    const upstream = await startUpstream(setting)
    const targets = [
      upstream,
      await startHaproxy(setting, upstream),
      await startPortkey(setting, upstream),
      await startBaseload(setting, database),
    ]
    for (const target of targets) await warmUp(setting, target, plan.warmUp[target.name])
    const all: Measurement[] = []
    for (let round = 1; round <= plan.rounds; round++) {
      say(`round ${round} of ${plan.rounds} …`)
      for (const target of targets) all.push(...(await measureAll(setting, target, plan)))
    }
    await checkMoney(targets)
    await Promise.all(targets.map(({ process: started }) => started.stop()))
    if (busyBefore || isBusy())
      say('WARNING: the machine has other work; single numbers wander, ratios less so')
    const machine = `load average ${loadBefore.toFixed(1)} before and ${load().toFixed(1)} after, gateways on core ${cores.gateway}, the rest on core ${cores.load}`
    return report(all, idle, plan, machine)
  } finally {
    killAll()
    await database.stop()
  }
}

async function warmUp(setting: Setting, target: Target, seconds: number): Promise<void> {
  say(`warming up ${target.name} for ${seconds} s …`)
  // Alternating: code that has seen only streams is not ready for the rest.
  for (let part = 0; part < 2; part++) {
    await measure(setting, target, 'burst', seconds / 4)
    await measure(setting, target, 'request', seconds / 4)
  }
}

async function measureAll(setting: Setting, target: Target, plan: Plan): Promise<Measurement[]> {
  const all: Measurement[] = []
  for (const scenario of Object.keys(plan.seconds) as Scenario[]) {
    const seconds = plan.seconds[scenario]
    const needed = target.name !== 'direct' || plan.direct.includes(scenario)
    if (seconds !== undefined && needed) all.push(await measure(setting, target, scenario, seconds))
  }
  return all
}

/** Every answer has been paid for, and no receipt was disputed: else the figures would be of another program. */
async function checkMoney(targets: readonly Target[]): Promise<void> {
  const port = targets.find(({ name }) => name === 'baseload')?.port ?? 0
  for (let tries = 0; ; tries++) {
    const { backlog, pending, disputed } = await settledReceipts(port)
    if (disputed > 0) throw new Error(`${disputed} receipts were disputed`)
    if (backlog + pending === 0) return
    if (tries === 50)
      throw new Error(`${pending} receipts have not come, ${backlog} settlements are not durable`)
    await sleep(100)
  }
}

function report(all: readonly Measurement[], idle: IdleLinks, plan: Plan, machine: string): number {
  const figures = figuresOf(all)
  const bars = barsOf(figures, idle)
  const pass = bars.every(clears)
  const requests = all.reduce((sum, one) => sum + one.allRequests, 0)
  const tokens = all.reduce((sum, one) => sum + one.allTokens, 0)
  const lines = [
    '',
    table(figures),
    '',
    `idle: ${idle.residentMB.toFixed(0)} MB with ${IDLE_LINKS} links, ${idle.residentBeforeMB.toFixed(0)} MB without; their heartbeats take ${(idle.cpuShare * 100).toFixed(0)} % of a core`,
    '',
    'baseload, with auth, routing, metering and receipts:',
    ...bars.map(barLine),
    '',
    `n = ${plan.rounds} rounds, ${requests} requests, ${tokens} chunks; medians; ${LINKS_UNDER_LOAD} nodes; ${machine}`,
    JSON.stringify({
      bench: 'gateway',
      pass,
      figures: {
        ...Object.fromEntries(bars.map(({ name, value }) => [name, rounded(value)])),
        ...Object.fromEntries(
          Object.entries(figures).map(([name, row]) => [
            name,
            Object.fromEntries(Object.entries(row).map(([key, value]) => [key, rounded(value)])),
          ]),
        ),
        idleCpuShare: rounded(idle.cpuShare),
        rounds: plan.rounds,
      },
    }),
    '',
  ]
  process.stdout.write(lines.join('\n'))
  return pass ? 0 : 1
}

/** Three digits are more than such a measurement knows. JSON has no NaN: null says "not measured". */
function rounded(value: number): number | null {
  return Number.isNaN(value) ? null : Number(value.toPrecision(3))
}
