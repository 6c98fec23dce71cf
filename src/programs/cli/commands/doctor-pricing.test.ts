import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { lookAtPricing } from './doctor-pricing.ts'

describe('what doctor says of a pricing program', { timeout: 20_000 }, () => {
  it('runs it, and tells what works from what cannot and what will not', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'baseload-doctor-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const look = async (script: string) => {
      const path = join(folder, 'price')
      writeFileSync(path, script, { mode: 0o755 })
      const [result] = await lookAtPricing(path, process.env)
      return result ?? assert.fail('no result')
    }
    assert.deepEqual(await lookAtPricing(null, {}), [])
    assert.equal((await look('#!/bin/sh\necho 100\n')).status, 'ok')
    const picky = await look('#!/bin/sh\nexit 1\n')
    assert.deepEqual([picky.status, /ended with 1/.test(picky.found)], ['warn', true])
    const broken = await look('#!/bin/sh\necho cheap\n')
    assert.deepEqual([broken.status, /'cheap', no price/.test(broken.found)], ['fail', true])
  })
})
