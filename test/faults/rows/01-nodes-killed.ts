import { loadFor } from '../../support/fleet/load.ts'
import type { NodeProcess } from '../../support/network-of-programs.ts'
import {
  booksOf,
  disturbing,
  killNode,
  pick,
  seconds,
  startFleet,
  summary,
  TOKENS,
} from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 1,
  fault: 'kill -9 of a random node each second',
  load: '50 streams a second on 20 fake nodes, open loop',
  promise: '0 failed, every text byte-exact, billed once',
  async run(context) {
    const { network, random } = await startFleet(context, { nodes: 20 })
    const { url, key } = network
    const restarting = new Map<NodeProcess, Promise<void>>()
    let kills = 0
    const calm = disturbing(context.signal, async () => {
      const node = pick(
        network.nodes.filter((one) => !restarting.has(one)),
        random,
      )
      kills += 1
      restarting.set(
        node,
        killNode(node).finally(() => restarting.delete(node)),
      )
      await seconds(1, context.signal)
    })
    const plan = { url, key, perSecond: 50, tokens: TOKENS, random, signal: context.signal }
    const load = await loadFor(plan, context.form === 'short' ? 12 : 60)
    await calm()
    await Promise.all(restarting.values())
    const wrong = await booksOf(network, load, { all: true })
    return {
      n: load.n,
      measured: `${kills} kills: ${summary(load, wrong)}`,
      pass: load.failures.length === 0 && wrong === null && kills > 5,
    }
  },
}
