/** `npm run faults -- --short|--long [--only 1,2] [--json] [--seed N]`: the scorecard, measured on this machine. */
import { parseArgs } from 'node:util'
import { rowFiles, runRow, isGood, type Result } from './campaign.ts'
import { appendResults } from './document.ts'
import type { Form } from './row.ts'

const USAGE = `npm run faults -- --short|--long [--only 1,2] [--json] [--seed N]
  --short     each row in seconds, as CI runs it
  --long      each row in full; its figures are written to docs/reliability.md
  --only      these rows of the scorecard (docs/reliability.md)
  --json      one line of JSON a row
  --seed      repeats the random choices of a run`

const settings = readArguments()
const interrupted = new AbortController()
process.on('SIGINT', () => {
  // The second time nobody waits.
  if (interrupted.signal.aborted) process.exit(130)
  process.stderr.write('\nending what runs …\n')
  interrupted.abort()
})
process.on('SIGTERM', () => interrupted.abort())

const results: Result[] = []
for (const file of rowFiles(settings.only)) {
  if (interrupted.signal.aborted) break
  const result = await runRow(file, {
    form: settings.form,
    seed: settings.seed,
    signal: interrupted.signal,
    tell: (line) => progress(`  ${file.number}: ${line}`),
  })
  if (interrupted.signal.aborted) break
  clearProgress()
  results.push(result)
  process.stdout.write(`${settings.json ? JSON.stringify(result) : lineOf(result)}\n`)
}
clearProgress()
if (interrupted.signal.aborted) process.exit(130)
if (settings.form === 'long') appendResults(results, settings.seed)
const bad = results.filter((result) => !isGood(result))
const missing = results.filter(({ missing: why }) => why !== null)
process.stderr.write(
  `seed ${settings.seed}: ${results.length - bad.length - missing.length} of ${results.length} rows pass, ` +
    `${bad.length} fail, ${missing.length} cannot run here\n`,
)
process.exit(bad.length > 0 ? 1 : 0)

function lineOf({ number, fault, load, promise, measured, missing: why, failed, seconds }: Result) {
  const about = `${String(number).padStart(2)}  ${fault} | ${load} | `
  if (why !== null) return `– ${about}cannot run here: ${why}`
  if (measured === null) return `✗ ${about}promise: ${promise} | broke: ${failed}`
  const mark = measured.pass ? '✓' : '✗'
  return `${mark} ${about}n ${measured.n} | promise: ${promise} | measured: ${measured.measured} | ${measured.pass ? 'pass' : 'FAIL'} (${seconds.toFixed(0)} s)`
}

function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${line.slice(0, 110)}`)
  else process.stderr.write(`${line}\n`)
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        short: { type: 'boolean' },
        long: { type: 'boolean' },
        only: { type: 'string' },
        json: { type: 'boolean' },
        seed: { type: 'string' },
      },
    })
    if (values.short === values.long) throw new Error('say either --short or --long')
    const form: Form = values.long ? 'long' : 'short'
    const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed)
    if (!Number.isSafeInteger(seed)) throw new Error(`--seed ${values.seed} is no whole number`)
    const only = (values.only ?? '').split(',').filter((one) => one !== '')
    const strange = only.filter((one) => !/^\d+$/.test(one))
    if (strange.length > 0) throw new Error(`--only ${strange.join(',')} is no row's number`)
    rowFiles(only.map(Number))
    return { form, seed, only: only.map(Number), json: values.json === true }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}\n`)
    process.exit(2)
  }
}
