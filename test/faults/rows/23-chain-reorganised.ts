import { isPassed, runTests, verdict } from '../test-files.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 23,
  fault: 'the chain is reorganised, RPC servers lie or stall, the sender is killed at every step',
  load: 'deposits, claims and payouts on a chain of its own (src/io/chain/sending, gateway/money/channels)',
  promise: 'no credit before finality, reorganised credit is reversed, each action happens once',
  testedApart: true,
  async run(context) {
    const kills = context.form === 'short' ? 15 : 200
    const env = { TEST_SETTLEMENT_KILLS: String(kills) }
    const sending = await runTests(context, 'src/io/chain/sending', env)
    const channels = await runTests(context, 'gateway/money/channels')
    const figure = sending.figures.find((line) => /\d+ kills/.test(line)) ?? `${kills} kills`
    return {
      n: kills,
      measured: `${figure}; sending: ${verdict(sending)}; channels: ${verdict(channels)}`,
      pass: isPassed(sending) && isPassed(channels),
    }
  },
}
