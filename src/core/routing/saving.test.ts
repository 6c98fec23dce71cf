import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { savingAgainst, type ListPrice } from './saving.ts'

const list: ListPrice = {
  provider: 'A big cloud',
  product: 'A model of 70 billion parameters',
  date: '2026-11-01',
  tier: 'us-east-1, on-demand',
  inputNanoUsdPerMTok: 720_000_000n,
  outputNanoUsdPerMTok: 720_000_000n,
}

describe('saving', () => {
  it('is the list’s sum less what was paid', () => {
    assert.deepEqual(savingAgainst(100_000n, 900, 100, list), {
      listNanoUsd: 720_000n,
      savedNanoUsd: 620_000n,
      percent: 86.1,
    })
  })

  it('is negative where the list is cheaper, and has no percent where it is free', () => {
    assert.equal(savingAgainst(900_000n, 900, 100, list).percent, -25)
    assert.equal(savingAgainst(1n, 0, 0, list).percent, null)
  })
})
