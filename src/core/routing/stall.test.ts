import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { giveUpAfterMs, isLoopLate, suspectAfterMs } from './stall.ts'

describe('a silent stream', () => {
  it('is suspect far beyond its own rhythm', () => {
    assert.equal(suspectAfterMs({ phase: 'decoding', firstTokenMs: 50, tokenMs: 10 }), 600)
    assert.equal(suspectAfterMs({ phase: 'decoding', firstTokenMs: 50, tokenMs: 200 }), 1600)
    assert.equal(suspectAfterMs({ phase: 'first-token', firstTokenMs: 50, tokenMs: 10 }), 1000)
    assert.equal(suspectAfterMs({ phase: 'first-token', firstTokenMs: 900, tokenMs: 10 }), 3600)
    assert.equal(suspectAfterMs({ phase: 'first-token', firstTokenMs: 9000, tokenMs: 10 }), 5000)
  })

  it('is always suspected before it is given up, and given up some time', () => {
    const rhythm = fc.record({
      phase: fc.constantFrom('first-token', 'decoding'),
      firstTokenMs: fc.double({ min: 0, max: 1e7, noNaN: true }),
      tokenMs: fc.double({ min: 0, max: 1e7, noNaN: true }),
    })
    fc.assert(
      fc.property(rhythm, (one) => {
        const [suspect, giveUp] = [suspectAfterMs(one), giveUpAfterMs(one)]
        assert.ok(suspect >= 600 && suspect < giveUp && giveUp <= 300_000)
      }),
    )
  })

  it('is not judged by a watcher that was late itself', () => {
    assert.ok(!isLoopLate(150, 100))
    assert.ok(isLoopLate(301, 100))
  })
})
