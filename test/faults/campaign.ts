/** Finds the rows and runs them, one after another, each in a process of its own. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Form, Measured } from './row.ts'
import type { About, RowMessage } from './row-process.ts'

const ROWS = fileURLToPath(new URL('rows/', import.meta.url))
const PROCESS = fileURLToPath(new URL('row-process.ts', import.meta.url))
/** A row that was told to end and does not is killed. */
const END_WITHIN_MS = 15_000

export type Result = About & {
  readonly measured: Measured | null
  /** Why there is no figure: it cannot run here, or it broke. */
  readonly missing: string | null
  readonly failed: string | null
  readonly seconds: number
}

export type RowFile = { readonly number: number; readonly path: string }

/** By number: `rows/07-database-gone.ts` is row 7. */
export function rowFiles(only: readonly number[] = []): RowFile[] {
  const all = readdirSync(ROWS)
    .filter((name) => /^\d\d-[a-z0-9-]+\.ts$/.test(name) && !name.endsWith('.test.ts'))
    .toSorted()
    .map((name) => ({ number: Number(name.slice(0, 2)), path: ROWS + name }))
  const unknown = only.filter((wanted) => !all.some(({ number }) => number === wanted))
  if (unknown.length > 0)
    throw new Error(
      `no row ${unknown.join(', ')}; there are ${all.map(({ number }) => number).join(', ')}`,
    )
  return only.length === 0 ? all : all.filter(({ number }) => only.includes(number))
}

export async function runRow(
  { number, path }: RowFile,
  options: { form: Form; seed: number; signal?: AbortSignal; tell: (line: string) => void },
): Promise<Result> {
  const begin = performance.now()
  const child = fork(PROCESS, [path, options.form, String(options.seed)], {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-8_000)))
  const end = (): void => stop(child)
  options.signal?.addEventListener('abort', end)
  let result: Result = {
    number,
    fault: '',
    load: '',
    promise: '',
    measured: null,
    missing: null,
    failed: null,
    seconds: 0,
  }
  child.on('message', (message: RowMessage) => {
    if (message.kind === 'about') result = { ...result, ...message.row }
    else if (message.kind === 'tell') options.tell(message.line)
    else if (message.kind === 'measured') result = { ...result, measured: message.measured }
    else if (message.kind === 'missing') result = { ...result, missing: message.why }
    else result = { ...result, failed: message.reason }
  })
  const [code, signal] = await once(child, 'close')
  options.signal?.removeEventListener('abort', end)
  const { measured, missing, failed } = result
  const silent = measured === null && missing === null && failed === null
  const ended = `the row's process ended without a word (${signal ?? code}):\n${said}`
  return {
    ...result,
    failed: silent ? ended : failed,
    seconds: (performance.now() - begin) / 1000,
  }
}

function stop(child: ChildProcess): void {
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS).unref()
}

/** A row that cannot run here fails nothing; whoever reads the line knows. */
export const isGood = ({ measured, missing }: Result): boolean =>
  measured?.pass === true || missing !== null
