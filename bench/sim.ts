/**
 * `npm run bench:sim -- [--quick]`: the capacity simulation at scale. First 100,000 nodes in all of it (churn, requests,
 * leases), then 1,000,000 in the market and the routing table alone. Each runs in a process of its own, so that memory is
 * its own. Setting up is told apart. Times are CPU times, garbage
 * collection included, so that other programs on the machine do not count.
 *
 * The requests are made up: 100 a second of the mean lengths of Azure's conversations; so it needs no data.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { atScale, inMarketAndRouting } from './sim/scale.ts'

const BAR_RSS_MB = 2000
const BAR_RATIO = 100

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, part: { type: 'string' } },
})
if (flags.part !== undefined) runPart(flags.part)
else process.exitCode = bench() ? 0 : 1

function bench(): boolean {
  const nodes = flags.quick ? 10_000 : 100_000
  const full = inItsOwn(`full ${nodes} ${flags.quick ? 1 : 2}`)
  console.log(
    `${nodes} nodes, requests, leases and churn: set up in ${full['setUpS']} s, then ${full['virtualS']} virtual s in ${full['cpuS']} s of CPU, ${full['ratio']} times real time; ${full['rssMb']} MB, ${full['bytesPerNode']} bytes a node; ${full['requests']} requests, ${full['orders']} orders, ${full['events']} events`,
  )
  const many = flags.quick ? 100_000 : 1_000_000
  const wide = inItsOwn(`wide ${many}`)
  console.log(
    `${many} nodes in market and routing: set up in ${wide['setUpS']} s, ${wide['leasesPerS']} leases and ${wide['choicesPerS']} choices a second; ${wide['rssMb']} MB, ${wide['bytesPerNode']} bytes a node`,
  )
  const small = Number(full['rssMb']) < BAR_RSS_MB
  const fast = Number(full['ratio']) > BAR_RATIO
  console.log(
    `\n${mark(small)} ${nodes} nodes in less than ${BAR_RSS_MB} MB\n${mark(fast)} faster than ${BAR_RATIO} times real time\n`,
  )
  console.log(JSON.stringify({ bench: 'sim', pass: small && fast, figures: { full, wide } }))
  return small && fast
}

function inItsOwn(part: string): Record<string, number> {
  const heap = part.startsWith('wide')
    ? ['--max-old-space-size=12000']
    : ['--max-old-space-size=1800', '--max-semi-space-size=32']
  const args = [...process.execArgv, ...heap, fileURLToPath(import.meta.url), '--part', part]
  const ran = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 2 ** 20 })
  if (ran.status !== 0)
    throw new Error(`the part '${part}' ended with ${ran.status}: ${ran.stderr.slice(-500)}`)
  return JSON.parse(ran.stdout.trim().split('\n').at(-1) ?? '{}')
}

function runPart(part: string): void {
  const [kind, nodes, hours] = part.split(' ')
  const figures =
    kind === 'full' ? atScale(Number(nodes), Number(hours)) : inMarketAndRouting(Number(nodes))
  console.log(JSON.stringify(figures))
}

function mark(ok: boolean): string {
  return ok ? '✓' : '✗'
}
