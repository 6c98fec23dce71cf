import { loadFor } from '../../support/fleet/load.ts'
import type { GatewayProcess } from '../../support/network-of-programs.ts'
import { disturbing, pick, seconds, startFleet, summary, TOKENS } from '../fleet-rows.ts'
import { settleAll } from '../lanes.ts'
import type { FaultRow } from '../row.ts'

const EVERY_S = 5
const TRIES = 5

export const row: FaultRow = {
  number: 4,
  fault: 'kill -9 of one of 3 gateways every 5 s',
  load: '50 streams a second over all gateways on 6 fake nodes, clients that try again at the next one',
  promise: '0 failed, every text byte-exact, 0 acknowledged receipts lost, every answer paid once',
  async run(context) {
    const { network, random } = await startFleet(context, { nodes: 6, gateways: 3 })
    const { gateways, key } = network
    const back = new Map<GatewayProcess, Promise<void>>()
    const backAfterMs: number[] = []
    const restart = async ({ program, url }: GatewayProcess): Promise<void> => {
      const begin = performance.now()
      await program.kill('SIGKILL')
      await program.start()
      await network.linked(url, network.nodes.length)
      backAfterMs.push(performance.now() - begin)
      context.tell(`back after ${Math.round(performance.now() - begin)} ms`)
    }
    const calm = disturbing(context.signal, async () => {
      await seconds(EVERY_S / 2, context.signal)
      const gateway = pick(
        gateways.filter((one) => !back.has(one)),
        random,
      )
      back.set(
        gateway,
        restart(gateway).finally(() => back.delete(gateway)),
      )
      await seconds(EVERY_S / 2, context.signal)
    })
    const load = await loadFor(
      {
        url: (number, tried) => gateways[(number + tried) % gateways.length]?.url ?? network.url,
        key,
        perSecond: 50,
        tokens: TOKENS,
        random,
        signal: context.signal,
        tries: TRIES,
      },
      context.form === 'short' ? 12 : 120,
    )
    await calm()
    await Promise.all(back.values())
    const { acknowledged, lost } = await settleAll(network, load.answers)
    return {
      n: load.n,
      measured:
        `${backAfterMs.length} kills, linked again within ${(Math.max(...backAfterMs) / 1000).toFixed(1)} s: ${summary(load, null)}; ` +
        `${acknowledged} receipts acknowledged, ${lost} lost`,
      pass: load.failures.length === 0 && lost === 0 && acknowledged > 0 && backAfterMs.length >= 3,
    }
  },
}
