import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { MINUTE, SECOND } from '../base/time.ts'
import { admit, newUsage, rateNumbers, settle, type Limited, type Limits } from './limits.ts'
import { UsageBook } from './usage-book.ts'

describe('rate limits', () => {
  it('admit the limit at once, then as it refills, and say how long to wait', () => {
    const key = party({ requestsPerMinute: 60 })
    for (let i = 0; i < 60; i++) assert.ok(!isRefusal(admit([key], 10, 0)))
    const refusal = admit([key], 10, 0)
    assert.ok(isRefusal(refusal))
    assert.equal(refusal.code, 'rate_limit_exceeded')
    assert.equal(refusal.retryAfterS, 1)
    assert.equal(refusal.details['remaining'], 0)
    assert.ok(!isRefusal(admit([key], 10, SECOND)))
  })

  it('take estimated tokens at admission, so that a hundred at once cannot all pass', () => {
    const key = party({ tokensPerMinute: 1000 })
    const passed = Array.from({ length: 100 }, () => admit([key], 100, 0)).filter(
      (answer) => !isRefusal(answer),
    )
    assert.equal(passed.length, 10)
  })

  it('give back at the end what was not used, and take what was used beyond', () => {
    const key = party({ tokensPerMinute: 1000 })
    const [low, high] = [admit([key], 400, 0), admit([key], 400, 0)]
    assert.ok(!isRefusal(low) && !isRefusal(high))
    settle(low, 100, 0)
    assert.equal(rateNumbers([key], 0).tokens?.remaining, 500)
    settle(low, 100, 0)
    settle(high, 600, 0)
    assert.deepEqual(rateNumbers([key], 0).tokens, { limit: 1000, remaining: 300, resetS: 42 })
  })

  it('bound what one wild estimate costs to one more minute', () => {
    const key = party({ tokensPerMinute: 1000 })
    const admission = admit([key], 1, 0)
    assert.ok(!isRefusal(admission))
    settle(admission, 1_000_000, 0)
    assert.ok(isRefusal(admit([key], 1, MINUTE)))
    assert.ok(!isRefusal(admit([key], 1, MINUTE + SECOND)))
  })

  it('refuse for good what never fits', () => {
    const refusal = admit([party({ tokensPerMinute: 1000 })], 1001, 0)
    assert.ok(isRefusal(refusal))
    assert.equal(refusal.retryAfterS, null)
    assert.match(refusal.message, /1001 tokens; this key's limit is 1000/)
  })

  it('count what runs, until it is settled', () => {
    const key = party({ concurrency: 1 })
    const first = admit([key], 1, 0)
    assert.ok(!isRefusal(first))
    const second = admit([key], 1, 0)
    assert.ok(isRefusal(second))
    assert.equal(second.code, 'concurrency_limit_exceeded')
    settle(first, 1, 0)
    assert.ok(!isRefusal(admit([key], 1, 0)))
  })

  it('hold for key and account together: for both, or nothing is taken', () => {
    const key = party({ requestsPerMinute: 100 })
    const account = party({ requestsPerMinute: 1 }, 'account')
    assert.ok(!isRefusal(admit([key, account], 1, 0)))
    assert.match(text(admit([key, account], 1, 0)), /This account's limit is 1 requests/)
    assert.equal(key.usage.requests, 1)
    assert.equal(rateNumbers([key, account], 0).requests?.limit, 1, 'the tightest is shown')
  })

  it('never admit more than limit × (1 + t) in any window of t minutes, and never negative counts', () => {
    const step = fc.record({ waitMs: fc.nat(20_000), tokens: fc.integer({ min: 1, max: 60 }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const key = party({ tokensPerMinute: 100, requestsPerMinute: 8 })
        const admitted: { at: number; tokens: number }[] = []
        let now = 0
        for (const { waitMs, tokens } of steps) {
          now += waitMs
          const admission = admit([key], tokens, now)
          if (isRefusal(admission)) continue
          admitted.push({ at: now, tokens })
          settle(admission, tokens, now)
        }
        admitted.forEach((first, i) => {
          let tokens = 0
          admitted.slice(i).forEach((last, count) => {
            tokens += last.tokens
            const share = 1 + (last.at - first.at) / MINUTE
            assert.ok(tokens <= 100 * share + 1e-6 && count + 1 <= 8 * share + 1e-6)
          })
        })
        assert.equal(key.usage.running, 0)
      }),
    )
  })
})

describe('the usage book', () => {
  it('gives the same usage while it matters, and forgets who was idle', () => {
    const book = new UsageBook()
    const usage = book.of('key_1', 0)
    assert.equal(book.of('key_1', 5), usage)
    for (let i = 0; i < 10; i++) book.of('key_2', 3 * MINUTE)
    assert.equal(book.size, 1)
  })

  it('is bounded, and never forgets what runs', () => {
    const book = new UsageBook(3)
    book.of('busy', 0).running = 1
    for (let i = 0; i < 100; i++) book.of(`key_${i}`, 0)
    assert.equal(book.size, 3)
    assert.equal(book.of('busy', 0).running, 1)
  })
})

function party(limits: Partial<Limits>, name: Limited['name'] = 'key'): Limited {
  const none = { requestsPerMinute: null, tokensPerMinute: null, concurrency: null }
  return { name, limits: { ...none, ...limits }, usage: newUsage(0) }
}

function text(answer: unknown): string {
  assert.ok(isRefusal(answer))
  return answer.message
}
