import { setTimeout as sleep } from 'node:timers/promises'
import postgresJs from 'postgres'
import { killPostgres, ownPostgres } from '../../support/own-postgres.ts'
import { startFleet } from '../fleet-rows.ts'
import { settleAll, startLanes } from '../lanes.ts'
import { occasionOf, type FaultRow } from '../row.ts'

/** A connection of its own: one that there was waits before it dials again. */
async function accepts(url: string): Promise<boolean> {
  const sql = postgresJs(url, { max: 1, connect_timeout: 1, onnotice: () => {} })
  try {
    await sql`select 1`
    return true
  } catch {
    return false
  } finally {
    await sql.end({ timeout: 0 })
  }
}

const MAX_BACK_MS = 5_000

export const row: FaultRow = {
  number: 5,
  fault: 'kill -9 of PostgreSQL under load, again and again',
  load: '8 lanes on 3 fake nodes',
  promise: '0 requests fail, 0 acknowledged receipts lost, the database answers again within 5 s',
  async run(context) {
    const postgres = await ownPostgres(occasionOf(context))
    const { network, random } = await startFleet(context, {
      nodes: 3,
      databaseUrl: postgres.url,
      fake: { paceMs: 5, slots: 16 },
    })
    // More than three restarts a minute are put off by design (the supervisor backs off to 3 s): the long form waits between.
    const wanted = context.form === 'short' ? 3 : 40
    const restMs = context.form === 'short' ? 0 : 21_000
    const lanes = startLanes(network, { lanes: 8, gatewayDies: false })
    let slowestMs = 0
    for (let kills = 0; kills < wanted; kills++) {
      context.signal.throwIfAborted()
      await sleep((kills < 3 ? 0 : restMs) + 100 + random() * 700)
      const begin = performance.now()
      await killPostgres(postgres, network)
      await network.until('PostgreSQL answers', () => accepts(postgres.url))
      const tookMs = performance.now() - begin
      slowestMs = Math.max(slowestMs, tookMs)
      context.tell(`kill ${kills + 1}: back after ${Math.round(tookMs)} ms`)
    }
    const { n, answers, failures } = await lanes.end()
    const { acknowledged, lost, paid } = await settleAll(network, answers)
    return {
      n: wanted,
      measured:
        `${n} requests, ${failures.length} failed${failures[0] ? ` (${failures[0]})` : ''}; back within ${(slowestMs / 1000).toFixed(1)} s at most; ` +
        `${paid} attempts paid, ${acknowledged} receipts acknowledged, ${lost} lost, books right`,
      pass: failures.length === 0 && lost === 0 && acknowledged > 0 && slowestMs < MAX_BACK_MS,
    }
  },
}
