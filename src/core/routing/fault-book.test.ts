import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  FaultBook,
  FIRST_QUARANTINE_MS,
  MAX_FAULTY_NODES,
  MAX_QUARANTINE_MS,
} from './fault-book.ts'
import { recordFailure, recordSuccess } from './replica.ts'
import { nodeId, aTable } from './test-replicas.ts'

describe('nodes that say what no honest node says', () => {
  it('are quarantined at the first fault, longer each time, up to a bound, and in the end let back', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30 * 60_000), { minLength: 1, maxLength: 30 }), (pauses) => {
        const book = new FaultBook()
        let now = 0
        let before = 0
        for (const pause of pauses) {
          const { since, until } = book.fault('n', 'garbage', now)
          const lengthMs = until - since
          assert.ok(lengthMs >= Math.max(before, FIRST_QUARANTINE_MS))
          assert.ok(lengthMs <= MAX_QUARANTINE_MS)
          assert.equal(book.of('n', until), null)
          assert.ok(book.of('n', until - 1))
          before = lengthMs
          now += pause
        }
      }),
    )
  })

  it('do not get out by what ran before, by a lesser failure, or by linking again', () => {
    const { table, replicas } = aTable([{ node: nodeId('liar') }])
    const [liar] = replicas
    assert.ok(liar)
    table.quarantine(liar.node, liar.link, 'malformed tokens', 1_000)
    const until = 1_000 + FIRST_QUARANTINE_MS
    recordSuccess(liar, 900)
    recordFailure(liar, 'link lost', 1_100, 1_200)
    assert.equal(liar.cooldown?.until, until)
    table.removeLink(liar.link, null)
    table.setOffer('link_again', [liar], 2_000)
    assert.equal(liar.cooldown?.until, until)
    recordSuccess(liar, until + 1)
    assert.equal(liar.cooldown, null)
  })

  it('are remembered only so many', () => {
    const book = new FaultBook()
    for (let i = 0; i <= MAX_FAULTY_NODES; i++) book.fault(String(i), 'garbage', 0)
    assert.equal(book.of('0', 1), null)
    assert.ok(book.of(String(MAX_FAULTY_NODES), 1))
  })
})
