import { loadFor, quantile } from '../../support/fleet/load.ts'
import { seconds, startFleet } from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

const MAX_EXTRA = 0.05

export const row: FaultRow = {
  number: 19,
  fault: 'one node is 20 times slower, another answers 1 % with garbage',
  load: '50 streams a second on 10 fake nodes, open loop',
  promise:
    'p99 under 1.5 times the baseline with at most 5 % more attempts; the liar is given nothing after 60 s',
  async run(context) {
    const { network, random } = await startFleet(context, {
      nodes: 10,
      fake: { paceMs: 20, slots: 16 },
    })
    const { url, key } = network
    const plan = {
      url,
      key,
      perSecond: 50,
      tokens: [20, 40],
      random,
      signal: context.signal,
    } as const
    const short = context.form === 'short'
    const before = await loadFor(plan, short ? 6 : 60)
    const [slow, liar] = network.nodes
    slow?.program.tell({ slower: 20 })
    liar?.program.tell({ garbage: 0.01 })
    // What the gateway needs to learn of it is part of the fault, and told apart.
    const learning = await loadFor(plan, short ? 4 : 60)
    await seconds(0.5, context.signal)
    const during = await loadFor(plan, short ? 8 : 60)
    const p99 = (of: typeof before): number =>
      quantile(
        of.samples.map(({ totalMs }) => totalMs),
        0.99,
      )
    const ratio = p99(during) / p99(before)
    const attempts = during.samples.reduce((sum, one) => sum + one.attempts, 0)
    const extra = attempts / Math.max(1, during.samples.length) - 1
    const garbage = [...learning.failures, ...during.failures].filter(({ reason }) =>
      reason.includes('wrong text'),
    ).length
    const others = learning.failures.length + during.failures.length - garbage
    const toLiar = during.answers.filter(({ attempts: by }) =>
      by.some(({ node }) => node === liar?.id),
    ).length
    return {
      n: before.n + learning.n + during.n,
      measured:
        `p99 ${p99(before).toFixed(0)} ms, ${(p99(learning) / p99(before)).toFixed(2)} times that at first, ${ratio.toFixed(2)} times after; ` +
        `${(100 * extra).toFixed(1)} % more attempts; ${garbage} answers were garbage, the liar had ${toLiar} of ${during.n} later; ${others} failed`,
      pass: ratio < 1.5 && extra <= MAX_EXTRA && toLiar === 0 && others === 0,
    }
  },
}
