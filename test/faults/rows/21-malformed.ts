import { isPassed, runTests, verdict } from '../test-files.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 21,
  fault: 'malformed frames, JSON and headers, deep nesting, bodies of 1 GB',
  load: '20 good requests a second beside (test/end-to-end/hostile.test.ts)',
  promise: '0 crashes, only 4xx, good requests unharmed, memory bounded',
  testedApart: true,
  async run(context) {
    const scale = context.form === 'short' ? 0.2 : 1
    const env = { TEST_HOSTILE_SCALE: String(scale) }
    const tests = await runTests(context, 'end-to-end/hostile.test', env)
    const figures = tests.figures.filter((line) => /^(malformed|not HTTP|1 GB|memory)/.test(line))
    return {
      n: 100_000 * scale,
      measured: `${figures.join('; ')}; ${verdict(tests)}`,
      pass: isPassed(tests),
    }
  },
}
