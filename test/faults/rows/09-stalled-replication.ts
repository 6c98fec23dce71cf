import { readSpools, type ProgramNetwork } from '../../support/network-of-programs.ts'
import { seconds, startFleet } from '../fleet-rows.ts'
import { settleAll, startLanes } from '../lanes.ts'
import type { FaultRow } from '../row.ts'
import { standbyPair } from '../standby.ts'

/** What was on its way when replication stopped. */
const UNDER_WAY_S = 1

export const row: FaultRow = {
  number: 9,
  fault: 'replication stalls, then kill -9 of the primary; the standby takes over',
  load: '8 lanes on 3 fake nodes',
  promise: 'nothing is acknowledged while it stalls, 0 acknowledged receipts lost',
  async run(context) {
    const pair = await standbyPair(context)
    const { network } = await startFleet(context, {
      nodes: 3,
      databaseUrl: pair.url,
      fake: { paceMs: 5, slots: 16 },
    })
    const lanes = startLanes(network, { lanes: 8, gatewayDies: false })
    await seconds(2, context.signal)
    const before = acknowledgedBy(network)
    pair.standby().signal('SIGSTOP')
    await seconds(UNDER_WAY_S, context.signal)
    const stalled = acknowledgedBy(network)
    // Longer than the statement timeout in the long form.
    const stallSeconds = context.form === 'short' ? 4 : 20
    await seconds(stallSeconds, context.signal)
    const acked = acknowledgedBy(network) - stalled
    await pair.primary().kill()
    pair.standby().signal('SIGCONT')
    await pair.failOver()
    await seconds(2, context.signal)
    const { n, answers, failures } = await lanes.end()
    const { acknowledged, lost, paid } = await settleAll(network, answers)
    return {
      n,
      measured:
        `${before} receipts acknowledged before, ${acked} in ${stallSeconds} s of stall, ${acknowledged} in the end, ${lost} lost; ` +
        `${failures.length} of ${n} requests failed${failures[0] ? ` (${failures[0]})` : ''}; ${paid} attempts paid, books right`,
      pass: acked === 0 && lost === 0 && before > 0 && acknowledged > before,
    }
  },
}

const acknowledgedBy = ({ nodes }: ProgramNetwork): number =>
  nodes.reduce((sum, { home }) => sum + readSpools(home).acknowledged.length, 0)
