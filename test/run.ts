/**
 * Runs every *.test.ts in one process: start-up is paid once, and state leaking between tests shows at once.
 * `npm test -- lease` runs the files whose path has "lease".
 */
import { readdirSync } from 'node:fs'

await fetchWithoutTimers()

const wanted = process.argv[2] ?? ''
const root = new URL('..', import.meta.url)
let found = 0

for (const folder of ['src', 'test']) {
  const files = readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
  for (const file of files.toSorted()) {
    if (file.endsWith('.test.ts') && `${folder}/${file}`.includes(wanted)) {
      found += 1
      await import(new URL(`${folder}/${file}`, root).href)
    }
  }
}

if (found === 0) {
  process.stderr.write(`no test file has "${wanted}" in its path\n`)
  process.exitCode = 1
}

/**
 * The `fetch` of Node 20 throws outside of any promise when one of its own time limits fires for a parser that
 * was collected already ("Cannot destructure property 'socket' of 'parser.deref(...)'"). The tests have limits of
 * their own, so its are turned off: its dispatcher is replaced by another of the same class without them.
 */
async function fetchWithoutTimers(): Promise<void> {
  // The dispatcher exists from the first use on.
  await fetch('data:,')
  const place = Symbol.for('undici.globalDispatcher.1')
  const before: unknown = Reflect.get(globalThis, place)
  if (typeof before !== 'object' || before === null) return
  const without = { bodyTimeout: 0, headersTimeout: 0 }
  Reflect.set(globalThis, place, Reflect.construct(before.constructor, [without]))
}
