import { memoryMiB } from '../../support/memory.ts'
import { startLoad } from '../../support/fleet/load.ts'
import { TENANT_NANO_USD, type NodeProcess } from '../../support/network-of-programs.ts'
import { booksOf, disturbing, killNode, pick, seconds, summary, TOKENS } from '../fleet-rows.ts'
import { proxiedFleet } from '../proxied.ts'
import type { FaultRow } from '../row.ts'

const NODES = 20
const SOAK = {
  short: { seconds: 45, mtbfSeconds: 60, faultSeconds: [1, 5] },
  long: { seconds: 3_600, mtbfSeconds: 600, faultSeconds: [2, 30] },
} as const
/** 99.99 %. */
const MAX_FAILED = 1e-4
const MAX_SLOPE_MIB_PER_HOUR = 60

export const row: FaultRow = {
  number: 29,
  fault:
    'soak: each node is killed, stopped or cut off every 10 min on average (short: every minute)',
  load: '50 streams a second on 20 fake nodes, 180,000 in the long form',
  promise: 'at most 1 of 10,000 failed, books right, the gateway grows by under 60 MiB an hour',
  async run(context) {
    const { network, random, proxies } = await proxiedFleet(context, {
      nodes: NODES,
      fake: { paceMs: 50, slots: 32 },
    })
    const plan = SOAK[context.form]
    const rate = Number(process.env['FAULTS_SOAK_RATE'] ?? 50)
    const lengthSeconds = Number(process.env['FAULTS_SOAK_SECONDS'] ?? plan.seconds)
    const { url, key } = network
    const burstKey = await network.newKey(await network.newTenant(TENANT_NANO_USD))
    const pid = network.gateways[0].program.pid ?? 0
    const memory: { at: number; mib: number }[] = []
    const counts = { killed: 0, stopped: 0, cut: 0 }
    const ill = new Set<NodeProcess>()
    const healing = new Set<Promise<void>>()
    const faultSeconds = (): number =>
      plan.faultSeconds[0] + random() * (plan.faultSeconds[1] - plan.faultSeconds[0])

    const hurt = async (node: NodeProcess): Promise<void> => {
      const kind = pick(['killed', 'stopped', 'cut'] as const, random)
      counts[kind] += 1
      const proxy = proxies[network.nodes.indexOf(node)]
      if (kind === 'killed') return killNode(node)
      if (kind === 'stopped') {
        node.program.signal('SIGSTOP')
        await seconds(faultSeconds(), context.signal).catch(() => {})
        node.program.signal('SIGCONT')
        return
      }
      proxy?.set({ kind: 'swallow' })
      await seconds(faultSeconds(), context.signal).catch(() => {})
      proxy?.set({ kind: 'pass' })
      proxy?.cutAll()
    }
    const calm = disturbing(context.signal, async () => {
      // As Poisson's: the time between two faults of the fleet is exponential.
      const waitSeconds = (-Math.log(1 - random()) * plan.mtbfSeconds) / NODES
      await seconds(Math.min(waitSeconds, 60), context.signal).catch(() => {})
      const well = network.nodes.filter((node) => !ill.has(node))
      if (well.length < NODES / 2) return
      const node = pick(well, random)
      ill.add(node)
      const one = hurt(node).finally(() => ill.delete(node))
      healing.add(one)
      void one.finally(() => healing.delete(one))
    })
    const load = startLoad({
      url,
      key,
      perSecond: rate,
      tokens: TOKENS,
      random,
      signal: context.signal,
    })
    const begin = performance.now()
    const elapsed = (): number => (performance.now() - begin) / 1000
    let bursts = 0
    while (elapsed() < lengthSeconds && !context.signal.aborted) {
      await seconds(Math.min(5, lengthSeconds / 20), context.signal)
      memory.push({ at: elapsed(), mib: memoryMiB(pid, 'VmRSS') })
      // Ten times the load for 3 s, by another tenant whose refusals are its own matter.
      if (elapsed() > (bursts + 1) * 300) {
        bursts += 1
        const burst = startLoad({ url, key: burstKey, perSecond: 300, tokens: [5, 5], random })
        await seconds(3, context.signal)
        await burst.end()
      }
      if (memory.length % 6 === 0)
        context.tell(
          `${Math.round(elapsed())} s: ${load.soFar.n} asked, ${load.soFar.failures.length} failed, ${memory.at(-1)?.mib} MiB`,
        )
    }
    await calm()
    const result = await load.end()
    await Promise.all(healing)
    // With bursts, others were paid, too.
    const wrong =
      bursts === 0 ? await booksOf(network, result, { all: true }) : await audit(network)
    const slope = slopePerHour(memory.slice(Math.floor(memory.length / 3)))
    const allowed = Math.floor(result.n * MAX_FAILED)
    // In a minute the heap has not settled: its slope says nothing yet.
    const grows = context.form === 'long' && slope > MAX_SLOPE_MIB_PER_HOUR
    return {
      n: result.n,
      measured:
        `${counts.killed} killed, ${counts.stopped} stopped, ${counts.cut} cut off, ${bursts} bursts; ${summary(result, wrong)}; ` +
        `memory ${memory.at(-1)?.mib} MiB, slope ${slope.toFixed(0)} MiB/h`,
      pass: result.failures.length <= allowed && wrong === null && !grows,
    }
  },
}

async function audit({ gateways, store }: Parameters<typeof booksOf>[0]): Promise<string | null> {
  for (const { program } of gateways) await program.kill('SIGTERM')
  const { sumNanoUsd, wrong } = await store.audit()
  return sumNanoUsd === 0n && wrong.length === 0 ? null : `${sumNanoUsd}, ${wrong.join()}`
}

/** Least squares. */
function slopePerHour(points: readonly { at: number; mib: number }[]): number {
  const n = points.length
  const meanAt = points.reduce((sum, { at }) => sum + at, 0) / n
  const meanMib = points.reduce((sum, { mib }) => sum + mib, 0) / n
  const top = points.reduce((sum, { at, mib }) => sum + (at - meanAt) * (mib - meanMib), 0)
  const bottom = points.reduce((sum, { at }) => sum + (at - meanAt) ** 2, 0)
  return (3600 * top) / bottom
}
