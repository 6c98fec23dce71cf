import { memoryMiB } from '../../support/memory.ts'
import { loadFor, quantile } from '../../support/fleet/load.ts'
import { booksOf, startFleet } from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

const MAX_REFUSAL_MS = 50
const MAX_GROWTH_MIB = 300

export const row: FaultRow = {
  number: 17,
  fault: '10 times more requests than the nodes can answer, for 60 s (short: 8 s)',
  load: '30, then 300 a second on 4 fake nodes with room for 32, open loop',
  promise:
    'goodput at least 80 % of the peak, p99 of the accepted under twice, the rest 429 within 50 ms, memory bounded',
  async run(context) {
    const fake = { paceMs: 25, slots: 4 }
    const { network, random } = await startFleet(context, { nodes: 4, fake })
    const { url, key } = network
    const pid = network.gateways[0].program.pid ?? 0
    const plan = { url, key, tokens: [20, 20], random, signal: context.signal } as const
    const seconds = context.form === 'short' ? 8 : 60
    const peak = await loadFor({ ...plan, perSecond: 30 }, seconds)
    const calmMiB = memoryMiB(pid, 'VmRSS')
    const over = await loadFor({ ...plan, perSecond: 300 }, seconds)
    const grownMiB = memoryMiB(pid, 'VmHWM') - calmMiB
    const p99 = (of: typeof peak): number =>
      quantile(
        of.samples.map(({ totalMs }) => totalMs),
        0.99,
      )
    const goodput = over.samples.length / peak.samples.length
    const ratio = p99(over) / p99(peak)
    const refusalMs = quantile(
      over.failures.map(({ afterMs }) => afterMs),
      0.99,
    )
    const strange = over.failures.filter(({ status }) => status !== 429)
    const both = {
      n: peak.n + over.n,
      answers: [...peak.answers, ...over.answers],
      samples: [],
      failures: [],
    }
    const wrong = await booksOf(network, both, { all: true })
    return {
      n: both.n,
      measured:
        `goodput ${(100 * goodput).toFixed(0)} % of the peak; p99 of the accepted ${ratio.toFixed(2)} times; ${over.failures.length} refused, ` +
        `${strange.length} not with 429${strange[0] ? ` (${strange[0].status} ${strange[0].reason.slice(0, 80)})` : ''}, p99 after ${refusalMs.toFixed(0)} ms; memory +${grownMiB} MiB; ${wrong ?? 'books right'}`,
      pass:
        goodput >= 0.8 &&
        ratio < 2 &&
        strange.length === 0 &&
        refusalMs < MAX_REFUSAL_MS &&
        grownMiB < MAX_GROWTH_MIB &&
        peak.failures.length === 0 &&
        wrong === null,
    }
  },
}
