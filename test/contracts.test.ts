/** The contracts' own tests, which forge runs, as tests of this suite; and what is committed of what they compile to. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

/** On a machine with other work on it: compiling takes half of it. */
const TIMEOUT_MS = 10 * 60_000

type Gas = Record<string, Record<string, string>>
type Outcome = { status: string; reason: string | null; gas_snapshots: Gas }
type Suites = Record<string, { test_results: Record<string, Outcome> }>

describe('contracts', { timeout: TIMEOUT_MS }, () => {
  it('pass their tests, at the gas that is committed', async (t) => {
    const { output, errors } = await run('forge.mjs', ['test', '--json'])
    const json = output.split('\n').find((line) => line.startsWith('{"test/'))
    assert.ok(json, `forge said nothing of tests:\n${output}\n${errors}`)
    const suites: Suites = JSON.parse(json)
    let count = 0
    const measured: Gas = {}
    for (const [path, { test_results: results }] of Object.entries(suites)) {
      for (const [name, { status, reason, gas_snapshots: gas }] of Object.entries(results)) {
        count += 1
        for (const [group, figures] of Object.entries(gas))
          measured[group] = { ...measured[group], ...figures }
        await t.test(`${path.split(':').at(-1)} ${name}`, () => {
          assert.equal(status, 'Success', reason ?? 'forge gives no reason')
        })
      }
    }
    assert.ok(count > 100, `only ${count} tests were found`)
    const committed = Object.fromEntries(Object.keys(measured).map((name) => [name, read(name)]))
    assert.ok('gas' in committed && 'day' in committed, 'no gas was measured')
    assert.deepEqual(measured, committed, '`npm run bench:gas` writes down gas that changed')
  })

  it('cost no more than the bars of bench:gas', () => {
    const [operations, day] = [read('gas'), read('day')]
    const lease = Number(operations['lease open']) + Number(operations['lease close'])
    assert.ok(lease < 115_000, `a lease costs ${lease}`)
    assert.ok(Number(operations['lease open, each of 25']) < 55_000, 'a lease opened in a batch')
    assert.ok(Number(day['in all']) < 60_000_000, `a day costs ${day['in all']}`)
  })

  it('cost what their README says', () => {
    const readme = readFileSync(new URL('../contracts/README.md', import.meta.url), 'utf8')
    for (const name of ['gas', 'day']) {
      for (const [what, gas] of Object.entries(read(name))) {
        const line = what.padEnd(42) + Number(gas).toLocaleString('en-US').padStart(12)
        assert.ok(
          readme.includes(line),
          `"${what}" is ${gas}: \`npm run bench:gas\` writes it down`,
        )
      }
    }
  })

  it('are what src/io/chain/abi was written from', async () => {
    const { errors, status } = await run('contracts-abi.mjs', ['--check'])
    assert.equal(status, 0, errors)
  })

  it('are formatted', async () => {
    const { output, errors, status } = await run('forge.mjs', ['fmt', '--check'])
    assert.equal(status, 0, `${output}${errors}\n\`node tools/forge.mjs fmt\` formats them`)
  })

  it('have mutants that still apply', async () => {
    const { output, errors, status } = await run('mutants.mjs', ['--check'])
    assert.equal(status, 0, `${output}${errors}`)
  })
})

function read(name: string): Record<string, string> {
  return JSON.parse(
    readFileSync(new URL(`../contracts/snapshots/${name}.json`, import.meta.url), 'utf8'),
  )
}

async function run(
  tool: string,
  args: readonly string[],
): Promise<{ output: string; errors: string; status: number | null }> {
  const path = fileURLToPath(new URL(`../tools/${tool}`, import.meta.url))
  // A test changes no file: what was measured is compared, not written.
  const env = { ...process.env, FORGE_SNAPSHOT_EMIT: 'false' }
  const child = spawn(process.execPath, [path, ...args], { env })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { output, errors, status: await ended }
}
