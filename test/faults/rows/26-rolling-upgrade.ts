import { startLoad } from '../../support/fleet/load.ts'
import { makeNextBuild, NEXT_MIGRATION } from '../../support/next-build.ts'
import { ownPostgres } from '../../support/own-postgres.ts'
import { gatewayProgram, type Program } from '../../support/program.ts'
import { booksOf, seconds, startFleet, summary } from '../fleet-rows.ts'
import { occasionOf, type FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 26,
  fault: 'rolling upgrade N → N+1 → N with a migration of the tables in use',
  load: '50 streams a second over 2 gateways and 6 fake nodes, clients that try again at the other one',
  promise: '0 failed, billed once; both versions run on the new schema',
  async run(context) {
    const occasion = occasionOf(context)
    const next = makeNextBuild(occasion)
    const { url: databaseUrl } = await ownPostgres(occasion)
    const { network, random } = await startFleet(context, { nodes: 6, gateways: 2, databaseUrl })
    const { gateways, key, database } = network
    const upgraded = gateways.map(({ home, url }, i) => {
      const name = `gateway ${i + 1} of the next version`
      const port = Number(new URL(url).port)
      return gatewayProgram({ name, home, port, databaseUrl, main: next })
    })
    context.after(() => Promise.all(upgraded.map((program) => program.kill('SIGKILL'))))
    const knowsNext = async (): Promise<boolean> =>
      (
        await database.run(
          (sql) => sql`select 1 from schema_migrations where name = ${NEXT_MIGRATION}`,
        )
      ).length > 0

    const load = startLoad({
      url: (number, tried) => gateways[(number + tried) % gateways.length]?.url ?? network.url,
      key,
      perSecond: 50,
      tokens: [5, 30],
      random,
      signal: context.signal,
      tries: 5,
    })
    let restarts = 0
    const replace = async (from: Program, to: Program, url: string): Promise<void> => {
      context.signal.throwIfAborted()
      const begin = performance.now()
      await from.kill('SIGTERM')
      await to.start()
      await network.linked(url, network.nodes.length)
      restarts += 1
      context.tell(`${to.name} is linked after ${Math.round(performance.now() - begin)} ms`)
      await seconds(1, context.signal)
    }
    const before = await knowsNext()
    const rounds = context.form === 'short' ? 1 : 5
    for (let round = 0; round < rounds; round++) {
      for (const [i, to] of upgraded.entries()) {
        const from = gateways[i]
        if (from) await replace(from.program, to, from.url)
      }
      for (const [i, from] of upgraded.entries()) {
        const to = gateways[i]
        if (to) await replace(from, to.program, to.url)
      }
    }
    const result = await load.end()
    const migrated = !before && (await knowsNext())
    const wrong = await booksOf(network, result, { all: true })
    return {
      n: result.n,
      measured: `${restarts} restarts, ${migrated ? 'migrated under load' : 'NOT MIGRATED'}: ${summary(result, wrong)}`,
      pass: result.failures.length === 0 && migrated && wrong === null,
    }
  },
}
