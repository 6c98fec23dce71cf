import { setTimeout as sleep } from 'node:timers/promises'
import { startFleet } from '../fleet-rows.ts'
import { settleAll, startLanes } from '../lanes.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 3,
  fault: 'kill -9 of the gateway in the middle of settlement, again and again',
  load: '16 lanes on 3 fake nodes',
  promise: 'ledger invariants hold, 0 acknowledged receipts lost, none paid twice',
  async run(context) {
    const { network, random } = await startFleet(context, {
      nodes: 3,
      fake: { paceMs: 5, slots: 16 },
    })
    const [{ program, url }] = network.gateways
    const wanted = context.form === 'short' ? 5 : 200
    const lanes = startLanes(network, { lanes: 16, gatewayDies: true })
    for (let kills = 0; kills < wanted; kills++) {
      context.signal.throwIfAborted()
      await network.linked(url, 1)
      // Receipts come in batches a few times a second: from right after the first answers to amid full work.
      await sleep(100 + random() * 700)
      await program.kill('SIGKILL')
      await program.start()
      if (kills % 10 === 9) context.tell(`${kills + 1} kills`)
    }
    await network.linked(url, network.nodes.length)
    const { n, answers, failures, excused } = await lanes.end()
    const { acknowledged, lost, paid } = await settleAll(network, answers)
    return {
      n: wanted,
      measured:
        `${n} requests, ${excused} cut off by the kills, ${failures.length} failed otherwise${failures[0] ? ` (${failures[0]})` : ''}; ` +
        `${paid} attempts paid, ${acknowledged} receipts acknowledged, ${lost} lost, books right`,
      pass: failures.length === 0 && lost === 0 && acknowledged > 0 && answers.length > wanted,
    }
  },
}
