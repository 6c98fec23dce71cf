import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { isGood, rowFiles, runRow } from './campaign.ts'

describe('the campaign', { timeout: 60_000 }, () => {
  it('finds rows by number and refuses one that is not there', () => {
    assert.deepEqual(
      rowFiles([3]).map(({ number }) => number),
      [3],
    )
    assert.throws(() => rowFiles([3, 99]), /no row 99; there are 1, 2, 3/)
  })

  it('tells a row that fails, breaks or cannot run from one that passes', async (t) => {
    const pass = await runOf(t, 'async run() { return { n: 1, measured: "x", pass: true } }')
    assert.ok(isGood(pass))
    assert.ok(
      !isGood(await runOf(t, 'async run() { return { n: 1, measured: "x", pass: false } }')),
    )
    const broken = await runOf(t, 'async run() { throw new Error("no luck") }')
    assert.ok(!isGood(broken))
    assert.match(broken.failed ?? '', /no luck/)
    const gone = await runOf(t, 'async run() { process.exit(3) }')
    assert.match(gone.failed ?? '', /ended without a word \(3\)/)
    const missing = await runOf(t, 'missing: async () => "a moon", async run() {}')
    assert.equal(missing.missing, 'a moon')
    assert.ok(isGood(missing))
  })

  it('ends a row that is interrupted, and lets it clean up', async (t) => {
    const stop = new AbortController()
    const text =
      'async run({ after, tell }) { after(() => tell("cleaned")); tell("runs"); await new Promise(() => setInterval(() => {}, 1000)) }'
    const said: string[] = []
    const result = await runOf(t, text, stop.signal, (line) => {
      said.push(line)
      if (line === 'runs') stop.abort()
    })
    assert.match(result.failed ?? '', /interrupted/)
    assert.deepEqual(said, ['runs', 'cleaned'])
  })
})

async function runOf(
  t: TestContext,
  members: string,
  signal = t.signal,
  tell: (line: string) => void = () => {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-row-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, '01-made.mjs')
  const about = 'number: 1, fault: "f", load: "l", promise: "p"'
  writeFileSync(path, `export const row = { ${about}, ${members} }`)
  return runRow({ number: 1, path }, { form: 'short', seed: 1, signal, tell })
}
