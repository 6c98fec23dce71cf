import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { idFrom } from '../../core/base/id.ts'
import { createAttemptIds, keyTag } from './attempt-id.ts'

describe('attempt ids', () => {
  it('tell their gateway, and only it, whose key they came from', () => {
    const { ids, tag } = setup()
    const attempt = ids.make({ keyTag: tag, ceilingNanoUsd: 512n })
    assert.match(attempt, /^att_[0-9a-z]{26}$/)
    assert.deepEqual(ids.origin(attempt), { keyTag: tag, ceilingNanoUsd: 512n })
    assert.notEqual(createAttemptIds(randomBytes(16)).origin(attempt)?.keyTag, tag)
  })

  it('survive a restart with the same secret', () => {
    const { ids, secret, tag } = setup()
    const attempt = ids.make({ keyTag: tag, ceilingNanoUsd: 1n })
    assert.equal(createAttemptIds(secret).origin(attempt)?.keyTag, tag)
  })

  it('never repeat, and two of one key share no visible part', () => {
    const { ids, tag } = setup()
    const made = Array.from({ length: 10_000 }, () => ids.make({ keyTag: tag, ceilingNanoUsd: 9n }))
    assert.equal(new Set(made).size, made.length)
    assert.equal(new Set(made.map((id) => id.slice(4, 10))).size > 9_900, true)
  })

  it('refuse other texts', () => {
    const { ids } = setup()
    for (const text of [
      '',
      'att_',
      'att_short',
      `att_${'u'.repeat(26)}`,
      `req_${'0'.repeat(26)}`,
    ]) {
      assert.equal(ids.origin(text), null)
    }
  })

  it('keep the ceiling, rounded up by less than a 100,000th', () => {
    const { ids, tag } = setup()
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 63n - 1n), (ceilingNanoUsd) => {
        const kept = ids.origin(ids.make({ keyTag: tag, ceilingNanoUsd }))?.ceilingNanoUsd ?? -1n
        assert.ok(kept >= ceilingNanoUsd && (kept - ceilingNanoUsd) * 100_000n <= ceilingNanoUsd)
      }),
    )
  })
})

function setup() {
  const secret = randomBytes(16)
  return { secret, ids: createAttemptIds(secret), tag: keyTag(idFrom('key', randomBytes(15))) }
}
