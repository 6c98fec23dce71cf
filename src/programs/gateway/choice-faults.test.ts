import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FIRST_QUARANTINE_MS } from '../../core/routing/fault-book.ts'
import { aStartedChoice, greedy } from './choice-kit.ts'

describe('a node that answers garbage', () => {
  it('is not paid, is quarantined at once, and the answer goes on elsewhere', (t) => {
    const run = aStartedChoice(t, {
      request: { ...greedy, max_tokens: 3 },
    })
    const { choice, sent, replicas, clock } = run
    run.last().say('one')
    run.last().say(' more', ' than', ' was', ' asked')
    assert.equal(sent.length, 2)
    run.last().say(' two', ' three').end('length')
    assert.equal(run.ended(), 'finished')
    assert.equal(run.text(), 'one two three')
    assert.deepEqual(
      run.bill().map(([node]) => node),
      ['n1'],
    )
    const [liar] = replicas
    assert.equal(liar?.cooldown?.until, clock.now() + FIRST_QUARANTINE_MS)
    assert.match(liar?.cooldown?.reason ?? '', /more tokens than/)
    assert.equal(choice.over, true)
  })
})
