import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  earnHedge,
  hedgeAfterMs,
  HEDGE_SHARE,
  MAX_HEDGE_BUDGET,
  newHedge,
  recordFirstTokenTime,
  spendHedge,
} from './hedge.ts'

describe('hedging', () => {
  it('waits for the 95th percentile of recent first tokens, and learns it first', () => {
    const hedge = newHedge()
    for (let i = 0; i < 31; i++) recordFirstTokenTime(hedge, 100)
    assert.equal(hedgeAfterMs(hedge), null)
    for (let i = 1; i <= 200; i++) recordFirstTokenTime(hedge, i % 100)
    const after = hedgeAfterMs(hedge)
    assert.ok(after !== null && after >= 90 && after < 100, `${after}`)
  })

  it('sends at most 5 % more requests, and does not save up for a storm', () => {
    const hedge = newHedge()
    let sent = 0
    for (let i = 0; i < 10_000; i++) {
      earnHedge(hedge)
      if (spendHedge(hedge)) sent += 1
    }
    assert.ok(sent <= 10_000 * HEDGE_SHARE && sent > 480, `${sent}`)
    for (let i = 0; i < 10_000; i++) earnHedge(hedge)
    const burst = Array.from({ length: 100 }, () => spendHedge(hedge)).filter(Boolean).length
    assert.equal(burst, MAX_HEDGE_BUDGET)
  })
})
