import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SilenceJudge } from './silence.ts'

describe('silence', () => {
  it('counts as gone after more than three beats', () => {
    const judge = new SilenceJudge(0, 1_000)
    for (const now of [1_000, 2_000, 3_000]) judge.tick(now)
    assert.equal(judge.isGone(0), false)
    judge.tick(4_000)
    assert.equal(judge.isGone(0), true)
    assert.equal(judge.isGone(1_500), false)
  })

  it('proves nothing when we were asleep ourselves, until we have been awake for a beat', () => {
    const judge = new SilenceJudge(0, 1_000)
    judge.tick(60_000)
    assert.equal(judge.isGone(0), false)
    judge.tick(61_000)
    assert.equal(judge.isGone(0), true)
  })
})
