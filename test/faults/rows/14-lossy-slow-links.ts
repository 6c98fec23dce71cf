import { execFileSync } from 'node:child_process'
import { loadFor, quantile, type LoadResult } from '../../support/fleet/load.ts'
import { booksOf, reasonsOf, TOKENS } from '../fleet-rows.ts'
import { proxiedFleet } from '../proxied.ts'
import type { FaultRow } from '../row.ts'

const LOSS_PERCENT = 30
const MBIT_BYTES = 125_000
const MAX_RATIO = 3

export const row: FaultRow = {
  number: 14,
  fault: '30 % of the packets of all node links are lost; then each link has 1 Mbit/s',
  load: '20 streams a second on 10 fake nodes, open loop',
  promise: '0 failed, p99 under 3 times that of good links',
  missing: async () =>
    works('nft', ['list', 'tables'])
      ? null
      : 'nftables, to lose packets: `apt-get install nftables` and run it as root',
  async run(context) {
    const { network, random, proxies } = await proxiedFleet(context, { nodes: 10 })
    const { url, key } = network
    const plan = { url, key, perSecond: 20, tokens: TOKENS, random, signal: context.signal }
    const seconds = context.form === 'short' ? 5 : 60
    const good = await loadFor(plan, seconds)
    const heal = losePackets(proxies.map(({ port }) => port))
    context.after(heal)
    const lossy = await loadFor(plan, seconds)
    heal()
    for (const proxy of proxies) proxy.set({ kind: 'throttle', bytesPerSecond: MBIT_BYTES })
    const slow = await loadFor(plan, seconds)
    for (const proxy of proxies) proxy.set({ kind: 'pass' })
    const parts = [good, lossy, slow]
    const all = {
      n: parts.reduce((sum, { n }) => sum + n, 0),
      answers: parts.flatMap(({ answers }) => answers),
      samples: parts.flatMap(({ samples }) => samples),
      failures: parts.flatMap(({ failures }) => failures),
    }
    const wrong = await booksOf(network, all, { all: true })
    const [lossRatio, slowRatio] = [p99(lossy) / p99(good), p99(slow) / p99(good)]
    return {
      n: all.n,
      measured:
        `${all.failures.length} failed${all.failures.length > 0 ? ` (${reasonsOf(all)})` : ''}; p99 ${p99(good).toFixed(1)} s, ` +
        `${lossRatio.toFixed(2)} times that with loss, ${slowRatio.toFixed(2)} times at 1 Mbit/s; ${wrong ?? 'books right'}`,
      pass:
        all.failures.length === 0 && wrong === null && Math.max(lossRatio, slowRatio) < MAX_RATIO,
    }
  },
}

const p99 = ({ samples }: LoadResult): number =>
  quantile(
    samples.map(({ totalMs }) => totalMs / 1000),
    0.99,
  )

const nft = (...args: string[]): void => void execFileSync('nft', args)

/** Both ways, of these ports alone. Returns what ends it. */
function losePackets(ports: readonly number[]): () => void {
  const table = `baseload_faults_${process.pid}`
  nft('add', 'table', 'ip', table)
  nft('add', 'chain', 'ip', table, 'lossy', '{ type filter hook input priority 0; }')
  for (const side of ['dport', 'sport'])
    nft(
      ...`add rule ip ${table} lossy tcp ${side}`.split(' '),
      `{ ${ports.join(', ')} }`,
      ...`numgen random mod 100 < ${LOSS_PERCENT} drop`.split(' '),
    )
  let over = false
  return () => {
    if (!over) nft('delete', 'table', 'ip', table)
    over = true
  }
}

function works(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
