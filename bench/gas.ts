/**
 * `npm run bench:gas`: what each operation of the contracts costs, and the settlement of a day of a million paid requests,
 * every transaction of it executed. Each is a transaction of its own in forge's EVM, with its 21,000 gas and its data, so a
 * figure is what a receipt would say.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** This file runs as it was built, from dist/bench. */
const root = new URL('../../', import.meta.url)

const BAR_LEASE = 115_000
const BAR_OPEN_IN_BATCH = 55_000
const BAR_DAY = 60_000_000

type Figures = Readonly<Record<string, number>>

measure()
const operations = read('gas')
const day = read('day')
const table = [...lines(operations), '', ...lines(day)].join('\n')
writeDown()
process.exitCode = report() ? 0 : 1

function measure(): void {
  const forge = fileURLToPath(new URL('tools/forge.mjs', root))
  const args = ['test', '--match-contract', '^(GasTest|WorkGasTest|DayTest)$']
  // What a day may cost is judged below, with the figures in view.
  const { status, stdout } = spawnSync(process.execPath, [forge, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status === 0) return
  process.stderr.write(stdout)
  throw new Error('The measurements failed; forge says above why.')
}

/** Forge writes them anew with each measurement; they are committed, so that a change of cost shows as a change. */
function read(name: string): Figures {
  const text = readFileSync(new URL(`contracts/snapshots/${name}.json`, root), 'utf8')
  const figures: Record<string, string> = JSON.parse(text)
  return Object.fromEntries(Object.entries(figures).map(([what, gas]) => [what, Number(gas)]))
}

function of(figures: Figures, what: string): number {
  const gas = figures[what]
  if (gas === undefined)
    throw new Error(`"${what}" was not measured; contracts/test names it otherwise.`)
  return gas
}

function report(): boolean {
  const figures = {
    leaseOpenAndClose: of(operations, 'lease open') + of(operations, 'lease close'),
    leaseOpenInBatch: of(operations, 'lease open, each of 25'),
    voucherClaimInBatch: of(operations, 'voucher claim, each of 200'),
    payoutRoot: of(operations, 'payout root'),
    payoutClaim: of(operations, 'payout claim, further'),
    day: of(day, 'in all'),
  }
  console.log('Gas of each operation; then of a day of 1,000,000 paid requests\n')
  console.log(table)
  const bars = [
    bar('a lease, opened and closed', figures.leaseOpenAndClose, BAR_LEASE),
    bar('a lease opened in a batch of 25', figures.leaseOpenInBatch, BAR_OPEN_IN_BATCH),
    bar('the day', figures.day, BAR_DAY),
  ]
  console.log(`\n${bars.map(({ text }) => text).join('\n')}\n`)
  const pass = bars.every(({ kept }) => kept)
  console.log(JSON.stringify({ bench: 'gas', pass, figures }))
  return pass
}

function bar(what: string, gas: number, most: number): { kept: boolean; text: string } {
  const kept = gas < most
  return { kept, text: `${kept ? '✓' : '✗'} ${what}: ${grouped(gas)}, under ${grouped(most)}` }
}

function lines(figures: Figures): string[] {
  return Object.entries(figures).map(([what, gas]) => what.padEnd(42) + grouped(gas).padStart(12))
}

/** The table in contracts/README.md is this one; test/contracts.test.ts sees to it. */
function writeDown(): void {
  const readme = new URL('contracts/README.md', root)
  const text = readFileSync(readme, 'utf8')
  writeFileSync(readme, text.replace(/(```gas\n)[^`]*(```)/, `$1${table}\n$2`))
}

function grouped(gas: number): string {
  return gas.toLocaleString('en-US')
}
