import { startLoad } from '../../support/fleet/load.ts'
import { booksOf, seconds, summary, TOKENS } from '../fleet-rows.ts'
import { proxiedFleet } from '../proxied.ts'
import type { FaultRow } from '../row.ts'

const MAX_MOVES = 2

export const row: FaultRow = {
  number: 15,
  fault: 'swizzle-clog: 10 of 20 links hang one after another and come back in random order',
  load: '20 streams a second on 20 fake nodes, open loop',
  promise: '0 failed, no request moves more than twice',
  async run(context) {
    const { network, random, proxies } = await proxiedFleet(context, { nodes: 20 })
    const { url, key } = network
    const load = startLoad({
      url,
      key,
      perSecond: 20,
      tokens: TOKENS,
      random,
      signal: context.signal,
    })
    const rounds = context.form === 'short' ? 1 : 10
    for (let round = 0; round < rounds; round++) {
      const clogged = shuffled(proxies, random).slice(0, 10)
      for (const proxy of clogged) {
        proxy.set({ kind: 'hold' })
        await seconds(0.3 + random() * 0.4, context.signal)
      }
      for (const proxy of shuffled(clogged, random)) {
        proxy.set({ kind: 'pass' })
        await seconds(0.3 + random() * 0.4, context.signal)
      }
      context.tell(`${round + 1} of ${rounds} rounds`)
    }
    const result = await load.end()
    const wrong = await booksOf(network, result, { all: true })
    const moves = Math.max(0, ...result.samples.map(({ attempts }) => attempts - 1))
    return {
      n: result.n,
      measured: `${rounds} rounds, at most ${moves} moves: ${summary(result, wrong)}`,
      pass: result.failures.length === 0 && wrong === null && moves <= MAX_MOVES,
    }
  },
}

const shuffled = <T>(of: readonly T[], random: () => number): T[] =>
  of
    .map((one) => ({ one, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ one }) => one)
