import { loadFor, quantile, startLoad, type LoadResult } from '../../support/fleet/load.ts'
import { reasonsOf, startFleet } from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

const TENANTS = 20

export const row: FaultRow = {
  number: 18,
  fault: 'one tenant asks 100 times more than each of 19 others',
  load: '19 tenants with 1 request a second each and one with 100, on 10 fake nodes with room for 80',
  promise: "the others' p99 grows by less than 20 %, 0 of theirs failed",
  async run(context) {
    const fake = { paceMs: 25, slots: 4 }
    const { network, random } = await startFleet(context, { nodes: 10, fake })
    const { url, key } = network
    const keys = await Promise.all(
      Array.from({ length: TENANTS - 1 }, async () =>
        network.newKey(await network.newTenant(1_000_000_000n)),
      ),
    )
    const plan = { url, tokens: [20, 20], random, signal: context.signal } as const
    const others = {
      ...plan,
      key: (number: number) => keys[number % keys.length] ?? '',
      perSecond: keys.length,
    }
    const seconds = context.form === 'short' ? 6 : 60
    const before = await loadFor(others, seconds)
    const noise = startLoad({ ...plan, key, perSecond: 100 })
    const during = await loadFor(others, seconds)
    const noisy = await noise.end()
    const ratio = p99(during) / p99(before)
    return {
      n: before.n + during.n + noisy.n,
      measured:
        `others: p99 ${p99(before).toFixed(0)} ms, ${ratio.toFixed(2)} times that beside the noise, ` +
        `${during.failures.length} of ${during.n} failed${during.failures.length > 0 ? ` (${reasonsOf(during)})` : ''}; the noisy one: ${noisy.failures.length} of ${noisy.n} refused`,
      pass: ratio < 1.2 && during.failures.length === 0 && before.failures.length === 0,
    }
  },
}

const p99 = ({ samples }: LoadResult): number =>
  quantile(
    samples.map(({ totalMs }) => totalMs),
    0.99,
  )
