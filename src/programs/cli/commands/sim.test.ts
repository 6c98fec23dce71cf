import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setup } from '../fake-shell.ts'
import { EXIT } from '../shell/failure.ts'

const TIMEOUT = { timeout: 60_000 }
const EARNINGS = ['sim', 'earnings', '--made-up', '--nodes', '30', '--requests-per-s', '0.1']

describe('baseload sim', TIMEOUT, () => {
  it('says what a newcomer would earn, as lines or as JSON', TIMEOUT, async () => {
    const { run, close } = setup()
    const lines = await run(...EARNINGS, '--gpu', 'RTX 4090', '--watt-price', '0.3')
    assert.equal(lines.code, EXIT.ok, lines.err)
    assert.match(lines.out, /^One rtx4090 in eu at \$[\d.]+ an hour: .*n=20/)
    assert.match(lines.out, /\n {2}power /)
    const json = await run(...EARNINGS, '--gpu', 'rtx4090', '--json')
    const { n, electricityUsd }: { n: number; electricityUsd: null } = JSON.parse(json.out)
    assert.deepEqual([n, electricityUsd], [20, null])
    close()
  })

  it(
    'names near GPUs for one that nobody offers, and all where none is near',
    TIMEOUT,
    async () => {
      const { run, close } = setup()
      const near = await run(...EARNINGS, '--gpu', 'RTX 4900')
      assert.equal(near.code, EXIT.usage)
      assert.match(near.err, /offers a 'RTX 4900'\n {2}→ did you mean rtx4090/)
      assert.match((await run(...EARNINGS, '--gpu', 'abacus')).err, /known are a100, l40s/)
      close()
    },
  )

  it(
    'names the traces that are missing, where they come from, and what to do',
    TIMEOUT,
    async () => {
      const { run, close } = setup()
      const { code, err } = await run('sim', 'report', '--data', '/nowhere')
      assert.equal(code, EXIT.usage)
      assert.match(err, /7 trace files are not in \/nowhere/)
      assert.match(err, /azure-llm\/.*: github\.com\/Azure/)
      assert.match(err, /→ .*--data.*--made-up/)
      close()
    },
  )

  it('refuses what is outside the limits, by name', TIMEOUT, async () => {
    const { run, close } = setup()
    const bad: [string[], RegExp][] = [
      [['report', '--nodes', '9'], /--nodes is a number from 10 to 100000; got '9'/],
      [['report', '--nodes', '10.5'], /--nodes is a whole number/],
      [['report', '--days', '366'], /--days is a number from 0.01 to 365/],
      [['report', '--load', '1.1'], /--load is a number from 0 to 1/],
      [['report', '--requests-per-s', '-1'], /--requests-per-s is a number from 0/],
      [['report', '--trace', 'burst'], /--trace knows azure, mooncake/],
      [['availability', '--spare', '0,x'], /--spare is up to 20 numbers/],
      [['availability', '--spare', ''], /--spare is up to 20 numbers/],
      [['earnings', '--gpu', 'rtx4090', '--region', 'Europe'], /--region is eu, us or ap/],
      [['earnings', '--gpu', 'rtx4090', '--price', '0'], /--price is a number from 0.001/],
    ]
    for (const [args, said] of bad) {
      const { code, err } = await run('sim', ...args, '--made-up')
      assert.equal(code, EXIT.usage, args.join(' '))
      assert.match(err, said)
    }
    close()
  })

  it('writes the report at the least that may be asked for', TIMEOUT, async () => {
    const { run, home, close } = setup()
    const out = join(home, 'report.html')
    const least = ['--nodes', '10', '--days', '0.01', '--requests-per-s', '0', '--load', '0']
    const { code, err } = await run('sim', 'report', '--made-up', ...least, '--out', out)
    assert.equal(code, EXIT.ok, err)
    assert.match(readFileSync(out, 'utf8'), /^<!doctype html>/)
    const wrong = await run('sim', 'report', '--made-up', ...least, '--out', '/nowhere/report.html')
    assert.match(wrong.err, /cannot write \/nowhere\/report.html/)
    close()
  })
})
