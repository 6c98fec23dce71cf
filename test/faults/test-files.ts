/** A row that is measured by tests of its own: runs their files, and reads the figures that they print. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { RowContext } from './row.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export type TestRun = {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** What the tests said of themselves. */
  readonly figures: readonly string[]
}

/** `part`: of the path of the files, as for `npm test -- part`. */
export async function runTests(
  { signal, tell }: RowContext,
  part: string,
  env: NodeJS.ProcessEnv = {},
): Promise<TestRun> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/run.ts', part], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const end = (): void => void child.kill('SIGTERM')
  signal.addEventListener('abort', end)
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
    const line = text.split('\n').find((one) => /^\s*(not )?ok /.test(one))
    if (line) tell(line.trim())
  })
  await once(child, 'close')
  signal.removeEventListener('abort', end)
  const count = (what: string): number =>
    Number(new RegExp(`^[#ℹ] ${what} (\\d+)$`, 'm').exec(said)?.[1] ?? 0)
  const figures = [...said.matchAll(/^\s*# (.+)$/gm)]
    .map(([, line = '']) => line)
    .filter(
      (line) => !/^(Subtest|tests|suites|pass|fail|cancelled|skipped|todo|duration_ms)/.test(line),
    )
  return {
    passed: count('pass'),
    failed: count('fail') + count('cancelled'),
    skipped: count('skipped'),
    figures,
  }
}

export const verdict = ({ passed, failed, skipped }: TestRun): string =>
  `${passed} tests pass, ${failed} fail${skipped > 0 ? `, ${skipped} skipped` : ''}`

export const isPassed = ({ passed, failed, skipped }: TestRun): boolean =>
  passed > 0 && failed === 0 && skipped === 0
