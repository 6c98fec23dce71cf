/**
 * Runs every *.test.ts in one process: start-up is paid once, and state leaking between tests shows at once.
 * `npm test -- lease` runs the files whose path has "lease".
 */
import { readdirSync } from 'node:fs'

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
