import { isPassed, runTests, verdict } from '../test-files.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 22,
  fault:
    'every settlement and deposit duplicated, reordered, replayed, or sent again with other contents',
  load: 'random histories against a model of the ledger (src/io/store/settle-model.test.ts, settle.test.ts)',
  promise: 'each has exactly one effect; the same key with other contents is a conflict',
  testedApart: true,
  async run(context) {
    const runs = context.form === 'short' ? 60 : 2_000
    const tests = await runTests(context, 'src/io/store/settle', { TEST_LEDGER_RUNS: String(runs) })
    return { n: runs, measured: `${runs} histories; ${verdict(tests)}`, pass: isPassed(tests) }
  },
}
