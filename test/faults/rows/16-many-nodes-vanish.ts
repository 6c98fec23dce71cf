import { TENANT_NANO_USD } from '../../support/network-of-programs.ts'
import { startLoad } from '../../support/fleet/load.ts'
import { booksOf, reasonsOf, seconds, startFleet, TOKENS } from '../fleet-rows.ts'
import type { FaultRow } from '../row.ts'

const VANISH = 8

export const row: FaultRow = {
  number: 16,
  fault: '40 % of the nodes vanish at once',
  load: '50 streams a second at 70 % of 20 fake nodes, 30 % of them by the paid tenant',
  promise: 'the paid tenant has 0 failed; others are shed with 429 or 503',
  async run(context) {
    // 50 a second of 35 tokens at 50 ms are 88 at a time: 70 % of 6 slots on 20 nodes, 121 % of those on 12.
    const fake = { paceMs: 50, slots: 6 }
    const { network, random } = await startFleet(context, { nodes: 20, fake })
    const { url, key } = network
    const other = await network.newKey(await network.newTenant(TENANT_NANO_USD))
    const plan = { url, tokens: TOKENS, random, signal: context.signal }
    const paid = startLoad({ ...plan, key, perSecond: 15 })
    const spare = startLoad({ ...plan, key: other, perSecond: 35 })
    await seconds(4, context.signal)
    const gone = network.nodes.slice(0, VANISH)
    await Promise.all(gone.map(({ program }) => program.kill('SIGKILL')))
    await seconds(context.form === 'short' ? 8 : 60, context.signal)
    const [ours, theirs] = await Promise.all([paid.end(), spare.end()])
    // Those that vanished keep their receipts; the gateway pays them on its own word.
    const wrong = await paidTenantsBooks(network, ours)
    const strange = theirs.failures.filter(({ status }) => ![429, 503].includes(status))
    return {
      n: ours.n + theirs.n,
      measured:
        `paid: ${ours.failures.length} of ${ours.n} failed${ours.failures.length > 0 ? ` (${reasonsOf(ours)})` : ''}; ` +
        `others: ${theirs.failures.length} of ${theirs.n} shed, ${strange.length} otherwise${strange.length > 0 ? ` (${reasonsOf({ ...theirs, failures: strange })})` : ''}; ${wrong ?? 'books right'}`,
      pass: ours.failures.length === 0 && strange.length === 0 && wrong === null,
    }
  },
}

/** The ledger's invariants; with a second tenant the paid sums are not the first one's alone. */
async function paidTenantsBooks(
  network: Parameters<typeof booksOf>[0],
  _ours: Parameters<typeof booksOf>[1],
): Promise<string | null> {
  for (const { program } of network.gateways) await program.kill('SIGTERM')
  const { sumNanoUsd, wrong } = await network.store.audit()
  return sumNanoUsd === 0n && wrong.length === 0 ? null : `BOOKS WRONG: ${wrong.join()}`
}
