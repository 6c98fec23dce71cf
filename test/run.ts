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
 * Tests under a fake clock (`mock.timers`) replace `clearTimeout`, and a connection that `fetch` kept from an
 * earlier test may close just then: its timer stays, fires later, and Node 20's fetch throws outside of any promise
 * ("Cannot destructure property 'socket' of 'parser.deref(...)'", undici issue 4755). The tests have limits of
 * their own, so the dispatcher is replaced by another of its class that keeps no connection and starts no timer.
 */
async function fetchWithoutTimers(): Promise<void> {
  // The dispatcher exists from the first use on.
  await fetch('data:,')
  const place = Symbol.for('undici.globalDispatcher.1')
  const before: unknown = Reflect.get(globalThis, place)
  if (typeof before !== 'object' || before === null) return
  const never = 2 ** 31 - 1
  // What is over its threshold is not kept; told to keep none, it would take half an answer for a whole one.
  const kept = { keepAliveTimeout: never, keepAliveTimeoutThreshold: never }
  const without = { bodyTimeout: 0, headersTimeout: 0, ...kept }
  Reflect.set(globalThis, place, Reflect.construct(before.constructor, [without]))
}
