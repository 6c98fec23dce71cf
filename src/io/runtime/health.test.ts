import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { probePauseMs } from './health.ts'

const about = (Healthcheck: unknown) => ({ Config: { Healthcheck } })

describe('a health check', () => {
  it('is looked at often where the engine runs it, and run at its interval where we do', () => {
    const check = about({ Test: ['CMD', 'true'], Interval: 20e9 })
    assert.equal(probePauseMs(check, false), 5_000)
    assert.equal(probePauseMs(check, true), 20_000)
    assert.equal(probePauseMs(about({ Test: ['CMD', 'true'] }), true), 30_000)
    assert.equal(probePauseMs(about({ Test: ['CMD', 'true'], Interval: 1 }), true), 200)
  })

  it('is none where the image has none', () => {
    for (const none of [null, about(undefined), about({ Test: ['NONE'] }), about({ Test: [] })])
      assert.equal(probePauseMs(none, false), null)
  })
})
