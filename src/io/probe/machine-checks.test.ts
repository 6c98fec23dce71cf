import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GIB, type CheckResult } from './check-result.ts'
import { checkMemory, checkNodeVersion, checkProcessor } from './machine-checks.ts'

describe('checkNodeVersion', () => {
  it('takes the oldest that works, and this one', () => {
    for (const version of ['20.19.0', '22.1.0'])
      assert.equal(checkNodeVersion(version).status, 'ok')
    assert.equal(checkNodeVersion().status, 'ok')
  })

  it('names an older one and the way out', () => {
    for (const version of ['18.20.4', '20.18.1'])
      failsWith(checkNodeVersion(version), 'fail', /20\.19 or newer/, /install/)
  })
})

describe('checkProcessor', () => {
  const good = { model: 'Toy 9000', architecture: 'x64', cores: 4, quota: null, load: 1 }

  it('is fine with a machine that has time', () => {
    assert.match(checkProcessor(good).found, /Toy 9000, 4 cores/)
    assert.equal(checkProcessor(good).status, 'ok')
    assert.ok(checkProcessor().found.length > 0)
  })

  it('names a foreign architecture, a narrow limit, and busy cores', () => {
    const foreign = { ...good, architecture: 's390x' }
    failsWith(checkProcessor(foreign), 'fail', /x64 and arm64/, /--engine openai/)
    failsWith(checkProcessor({ ...good, quota: 0.5 }), 'warn', /less than one core/, /limit/)
    failsWith(checkProcessor({ ...good, load: 9 }), 'warn', /busy/, /slots/)
  })
})

describe('checkMemory', () => {
  const memory = { totalBytes: 16 * GIB, availableBytes: 8 * GIB }

  it('leaves room beside the weights', () => {
    assert.equal(checkMemory(4 * GIB, memory).status, 'ok')
    assert.equal(checkMemory(0).status, 'ok')
  })

  it('tells a full machine from one that is too small', () => {
    failsWith(checkMemory(7 * GIB, memory), 'warn', /other programs/, /stop some/)
    failsWith(checkMemory(14 * GIB, memory), 'fail', /larger than the memory/, /smaller/)
  })
})

function failsWith(result: CheckResult, status: string, cause: RegExp, fix: RegExp): void {
  assert.equal(result.status, status)
  assert.match(result.cause ?? '', cause)
  assert.match(result.fix ?? '', fix)
}
