import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { accrue, MAX_RATE, parseRate, priceFor, rateOf } from './rate.ts'

describe('rate', () => {
  it('turns a dollar an hour into a dollar after an hour', () => {
    const rate = rateOf(1_000_000_000n, 'hour')
    assert.deepEqual(accrue({ rate, ms: 3_600_000, carry: 0n }).nanoUsd, 999_999_999n)
    assert.equal(priceFor(rate, 'hour'), 1_000_000_000n)
  })

  it('accrues the same however time is cut', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 50 })
    fc.assert(
      fc.property(cuts, fc.bigInt({ min: 0n, max: MAX_RATE }), (parts, rate) => {
        const whole = accrue({ rate, ms: parts.reduce((sum, ms) => sum + ms, 0), carry: 0n })
        let [sum, carry] = [0n, 0n]
        for (const ms of parts) {
          const part = accrue({ rate, ms, carry })
          sum += part.nanoUsd
          carry = part.carry
        }
        assert.deepEqual({ nanoUsd: sum, carry }, whole)
      }),
    )
  })

  it('reads what it may be on a wire and nothing else', () => {
    assert.equal(parseRate(String(MAX_RATE)), MAX_RATE)
    for (const bad of [String(MAX_RATE + 1n), '-1', '1.5', '', '1e9', 7, null]) {
      assert.equal(parseRate(bad), null, String(bad))
    }
  })
})
