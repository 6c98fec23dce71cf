import { startFaultProxy } from '../../support/fault-proxy.ts'
import { startLoad } from '../../support/fleet/load.ts'
import { ownPostgres } from '../../support/own-postgres.ts'
import { booksOf, PACE_MS, seconds, summary, TOKENS } from '../fleet-rows.ts'
import { proxiedFleet } from '../proxied.ts'
import { occasionOf, type FaultRow } from '../row.ts'

const MAX_HEAL_MS = 10_000

export const row: FaultRow = {
  number: 13,
  fault:
    'partitions: half of the nodes cut from the gateway, one way only, the gateway from its database',
  load: '50 streams a second on 10 fake nodes, open loop',
  promise: '0 failed while one path is left, every node linked again within 10 s',
  async run(context) {
    const postgres = await ownPostgres(occasionOf(context))
    const direct = new URL(postgres.url)
    const database = await startFaultProxy({ targetPort: Number(direct.port) })
    context.after(() => database.close())
    direct.port = String(database.port)
    const { network, random, proxies } = await proxiedFleet(context, {
      nodes: 10,
      // The half that is left can carry it all.
      fake: { paceMs: PACE_MS, slots: 32 },
      databaseUrl: String(direct),
    })
    const { url, key } = network
    const long = context.form === 'long' ? 30 : 4
    const load = startLoad({
      url,
      key,
      perSecond: 50,
      tokens: TOKENS,
      random,
      signal: context.signal,
    })
    await seconds(2, context.signal)
    let slowestMs = 0
    for (const fault of ['both ways', 'to the gateway', 'to the nodes', 'database'] as const) {
      context.tell(`partition: ${fault}`)
      const cut = fault === 'database' ? [database] : proxies.slice(0, 5)
      const way = fault === 'to the gateway' ? 'up' : fault === 'to the nodes' ? 'down' : 'both'
      for (const proxy of cut) proxy.set({ kind: 'swallow', way })
      await seconds(long, context.signal)
      // Bytes are lost for good: what TCP would have sent again is gone, so the connections are, too.
      for (const proxy of cut) {
        proxy.set({ kind: 'pass' })
        proxy.cutAll()
      }
      const healing = performance.now()
      await network.linked(url, network.nodes.length)
      slowestMs = Math.max(slowestMs, performance.now() - healing)
      await seconds(1, context.signal)
    }
    const result = await load.end()
    const wrong = await booksOf(network, result, { all: true })
    return {
      n: result.n,
      measured: `4 partitions of ${long} s, healed within ${(slowestMs / 1000).toFixed(1)} s: ${summary(result, wrong)}`,
      pass: result.failures.length === 0 && wrong === null && slowestMs < MAX_HEAL_MS,
    }
  },
}
