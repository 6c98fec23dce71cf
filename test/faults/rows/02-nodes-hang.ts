import { loadFor } from '../../support/fleet/load.ts'
import { booksOf, disturbing, pick, seconds, startFleet, summary, TOKENS } from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 2,
  fault: 'SIGSTOP of nodes for 2 to 30 s, then they wake',
  load: '50 streams a second on 20 fake nodes, open loop',
  promise: '0 failed, every text byte-exact, what zombies finish is not billed',
  async run(context) {
    const { network, random } = await startFleet(context, { nodes: 20 })
    const { url, key } = network
    const short = context.form === 'short'
    const waking = new Set<Promise<void>>()
    let stops = 0
    const calm = disturbing(context.signal, async () => {
      const { program } = pick(network.nodes, random)
      program.signal('SIGSTOP')
      stops += 1
      const wake = seconds(2 + random() * (short ? 4 : 28), context.signal)
        .catch(() => {})
        .then(() => program.signal('SIGCONT'))
      waking.add(wake)
      await seconds(short ? 1.5 : 4, context.signal)
    })
    const plan = { url, key, perSecond: 50, tokens: TOKENS, random, signal: context.signal }
    const load = await loadFor(plan, short ? 10 : 120)
    await calm()
    await Promise.all(waking)
    // What they had finished meanwhile comes now, and must change nothing.
    await seconds(1, context.signal)
    const wrong = await booksOf(network, load, { all: true })
    return {
      n: load.n,
      measured: `${stops} stops: ${summary(load, wrong)}`,
      pass: load.failures.length === 0 && wrong === null && stops > 3,
    }
  },
}
