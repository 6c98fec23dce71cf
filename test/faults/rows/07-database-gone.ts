import { setTimeout as sleep } from 'node:timers/promises'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { loadFor, quantile, startLoad } from '../../support/fleet/load.ts'
import { ownPostgres } from '../../support/own-postgres.ts'
import { booksOf, reasonsOf, startFleet } from '../fleet-rows.ts'
import { occasionOf, type FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 7,
  fault: 'the database is unreachable for 60 s (short: 12 s)',
  load: '50 streams a second on 10 fake nodes, a tenant with a slice of credit in memory',
  promise:
    '0 failed while the slice lasts, then only 503 or 429 with Retry-After; all is settled afterwards',
  async run(context) {
    const postgres = await ownPostgres(occasionOf(context))
    const direct = new URL(postgres.url)
    const proxy = await startFaultProxy({ targetPort: Number(direct.port) })
    context.after(() => proxy.close())
    direct.port = String(proxy.port)
    const { network, random } = await startFleet(context, {
      nodes: 10,
      databaseUrl: String(direct),
    })
    const { url, key } = network
    const plan = {
      url,
      key,
      perSecond: 50,
      tokens: [5, 30],
      random,
      signal: context.signal,
    } as const
    const before = await loadFor(plan, 2)
    proxy.set({ kind: 'refuse' })
    proxy.cutAll()
    const outage = startLoad(plan)
    const seconds = context.form === 'short' ? 12 : 60
    await sleep(seconds * 1000)
    proxy.set({ kind: 'pass' })
    await sleep(3_000)
    const during = await outage.end()
    const after = await loadFor(plan, 3)
    const strange = during.failures.filter(
      ({ status, retryAfter }) => ![429, 503].includes(status) || retryAfter === null,
    )
    const firstMs = Math.min(Infinity, ...during.failures.map(({ number }) => number * 20))
    const all = {
      n: before.n + during.n + after.n,
      answers: [...before.answers, ...during.answers, ...after.answers],
      samples: [],
      failures: [],
    }
    const wrong = await booksOf(network, all, { all: true })
    const times = during.samples.map(({ totalMs }) => totalMs / 1000)
    return {
      n: all.n,
      measured:
        `${seconds} s without: ${during.failures.length} of ${during.n} refused${Number.isFinite(firstMs) ? `, the first after ${(firstMs / 1000).toFixed(1)} s` : ''}, ` +
        `${strange.length} of them unclean${strange.length > 0 ? ` (${reasonsOf({ ...during, failures: strange })})` : ''}; ` +
        `p99 ${quantile(times, 0.99).toFixed(1)} s; ${before.failures.length + after.failures.length} failed before and after; ${wrong ?? 'books right'}`,
      pass:
        strange.length === 0 &&
        firstMs > 5_000 &&
        before.failures.length + after.failures.length === 0 &&
        wrong === null,
    }
  },
}
