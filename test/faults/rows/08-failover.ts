import { setTimeout as sleep } from 'node:timers/promises'
import { startFleet } from '../fleet-rows.ts'
import { settleAll, startLanes } from '../lanes.ts'
import type { FaultRow } from '../row.ts'
import { standbyPair } from '../standby.ts'

const MAX_OUTAGE_MS = 2_000

export const row: FaultRow = {
  number: 8,
  fault: 'kill -9 of the primary; its synchronous standby takes over, again and again',
  load: '8 lanes on 3 fake nodes',
  promise: '0 requests fail, 0 acknowledged receipts lost, writes go on within 2 s',
  async run(context) {
    const pair = await standbyPair(context)
    const { network, random } = await startFleet(context, {
      nodes: 3,
      databaseUrl: pair.url,
      fake: { paceMs: 5, slots: 16 },
    })
    const wanted = context.form === 'short' ? 2 : 10
    const lanes = startLanes(network, { lanes: 8, gatewayDies: false })
    let slowestMs = 0
    for (let kills = 0; kills < wanted; kills++) {
      context.signal.throwIfAborted()
      await sleep(1_000 + random() * 700)
      const tookMs = await pair.failOver()
      slowestMs = Math.max(slowestMs, tookMs)
      context.tell(`failover ${kills + 1}: writes go on after ${Math.round(tookMs)} ms`)
      await sleep(1_000)
      if (kills + 1 < wanted) await pair.renew()
    }
    // Alone from now on.
    const { n, answers, failures } = await lanes.end()
    const { acknowledged, lost, paid } = await settleAll(network, answers)
    return {
      n: wanted,
      measured:
        `${n} requests, ${failures.length} failed${failures[0] ? ` (${failures[0]})` : ''}; writes went on within ${(slowestMs / 1000).toFixed(1)} s; ` +
        `${paid} attempts paid, ${acknowledged} receipts acknowledged, ${lost} lost, books right`,
      pass: failures.length === 0 && lost === 0 && acknowledged > 0 && slowestMs < MAX_OUTAGE_MS,
    }
  },
}
