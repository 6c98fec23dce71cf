import { isPassed, runTests, verdict } from '../test-files.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 20,
  fault: 'slowloris, slow bodies, readers that do not read: 2,000 connections',
  load: '20 good requests a second beside (test/end-to-end/hostile.test.ts)',
  promise: '0 good requests fail, slow senders get 408, slow readers all in the end',
  testedApart: true,
  async run(context) {
    const tests = await runTests(context, 'end-to-end/hostile.test', { TEST_HOSTILE_SCALE: '0' })
    const figures = tests.figures.filter((line) => /^(slow|good traffic|memory)/.test(line))
    return { n: 2_000, measured: `${figures.join('; ')}; ${verdict(tests)}`, pass: isPassed(tests) }
  },
}
