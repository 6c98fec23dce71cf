import { isPassed, runTests, verdict } from '../test-files.ts'
import type { FaultRow } from '../row.ts'

export const row: FaultRow = {
  number: 24,
  fault:
    'twelve hostile containers: fork bomb, all memory, /proc, metadata address, LAN scan, LD_PRELOAD, …',
  load: 'real containers on the engines of this machine (test/end-to-end/runtime-hostile.test.ts)',
  promise: '0 escapes, the host answers, what leaves is blocked but for the internet',
  testedApart: true,
  missing: async () =>
    process.getuid?.() === 0 ? null : 'root, to start a container engine of its own',
  async run(context) {
    const tests = await runTests(context, 'end-to-end/runtime-hostile')
    return { n: 12, measured: verdict(tests), pass: isPassed(tests) }
  },
}
