/**
 * One row in a process of its own, started by `campaign.ts`: `row-process.ts FILE FORM SEED`. Rows share nothing, a row's
 * memory is its own, and when this process is gone so are those that it started.
 */
import { pathToFileURL } from 'node:url'
import { reasonOf } from '../../src/core/base/refusal.ts'
import type { FaultRow, Form, Measured } from './row.ts'

export type RowMessage =
  | { readonly kind: 'about'; readonly row: About }
  | { readonly kind: 'tell'; readonly line: string }
  | { readonly kind: 'missing'; readonly why: string }
  | { readonly kind: 'measured'; readonly measured: Measured }
  | { readonly kind: 'failed'; readonly reason: string }
export type About = Pick<FaultRow, 'number' | 'fault' | 'load' | 'promise'>

const [file = '', form = 'short', seed = '0'] = process.argv.slice(2)
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => interrupted.abort(new Error('interrupted')))
process.once('disconnect', () => interrupted.abort(new Error('whoever asked is gone')))

const cleanUps: (() => unknown)[] = []
const say = (message: RowMessage): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected) process.send?.(message, () => resolve())
    else resolve()
  })

const { row }: { row: FaultRow } = await import(pathToFileURL(file).href)
await say(await outcome())
for (const cleanUp of cleanUps.toReversed())
  try {
    await cleanUp()
  } catch (error) {
    await say({ kind: 'tell', line: `cleaning up: ${reasonOf(error)}` })
  }
process.exit(0)

async function outcome(): Promise<RowMessage> {
  const { number, fault, load, promise } = row
  await say({ kind: 'about', row: { number, fault, load, promise } })
  const why = (await row.missing?.()) ?? null
  if (why !== null) return { kind: 'missing', why }
  const aborted = new Promise<never>((_, reject) => {
    interrupted.signal.addEventListener('abort', () => reject(interrupted.signal.reason))
  })
  const running = row.run({
    form: form as Form,
    seed: Number(seed),
    signal: interrupted.signal,
    tell: (line) => void say({ kind: 'tell', line }),
    after: (cleanUp) => void cleanUps.push(cleanUp),
  })
  try {
    return { kind: 'measured', measured: await Promise.race([running, aborted]) }
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { kind: 'failed', reason }
  }
}
