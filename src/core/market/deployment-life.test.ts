import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  DATA_KEPT_MS,
  decidePurse,
  deploymentIsOver,
  evolvePurse,
  GRACE_MS,
  NEW_PURSE,
  type Purse,
} from './deployment-life.ts'
import { DOUBT_MS, givenUp } from './silence.ts'

describe('a deployment', () => {
  it('is over with its last lease', () => {
    const [closed, open] = [{ state: 'closed' as const }, { state: 'draining' as const }]
    assert.deepEqual(
      [deploymentIsOver([closed, open]), deploymentIsOver([closed, closed])],
      [false, true],
    )
  })

  it('warns at four fifths, gives a grace when all is spent, then ends and keeps the data', () => {
    const purse = aPurse()
    assert.deepEqual(
      [purse.sees(21n, 0), purse.sees(20n, 1), purse.sees(19n, 2), purse.sees(0n, 3)],
      [null, 'money.low', null, 'money.out'],
    )
    assert.equal(purse.sees(-1n, 3 + GRACE_MS - 1), null)
    assert.equal(purse.sees(-1n, 3 + GRACE_MS), 'money.over')
    assert.equal(purse.sees(100n, 4 + GRACE_MS), null, 'over is over')
    const over = decidePurse({ status: 'empty', since: 0 }, funds(0n), GRACE_MS)
    assert.ok(over?.type === 'money.over' && over.dataKeptUntil === GRACE_MS + DATA_KEPT_MS)
  })

  it('goes on when money comes in time', () => {
    const purse = aPurse()
    assert.equal(purse.sees(0n, 0), 'money.out')
    assert.equal(purse.sees(10n, 1), 'money.low')
    assert.equal(purse.sees(90n, 2), 'money.restored')
    assert.equal(purse.sees(90n, GRACE_MS + 2), null)
  })
})

describe('silence', () => {
  it('gives a node up when its time is over, not before', () => {
    const missing = new Map([
      ['late', gone(0, 4_000)],
      ['gone', gone(0, 3_000)],
    ])
    assert.deepEqual(givenUp(missing, 9, 3_999), ['gone'])
  })

  it('suspects ourselves when more than three in ten vanish at once, and waits', () => {
    const three = new Map(['x', 'y', 'z'].map((node) => [node, gone(0, 3_000)]))
    assert.deepEqual(givenUp(three, 6, 20_000), [])
    assert.deepEqual(givenUp(three, 6, DOUBT_MS), ['x', 'y', 'z'])
    assert.deepEqual(givenUp(three, 7, 20_000), ['x', 'y', 'z'], 'three in ten may fail')
    three.delete('z')
    assert.deepEqual(givenUp(three, 0, 20_000), ['x', 'y'], 'of a few any may fail')
  })
})

const gone = (since: number, until: number) => ({ since, until })

const funds = (leftNanoUsd: bigint) => ({ setAsideNanoUsd: 100n, leftNanoUsd })

function aPurse() {
  let purse: Purse = NEW_PURSE
  return {
    sees(left: bigint, now: number): string | null {
      const event = decidePurse(purse, funds(left), now)
      if (event) purse = evolvePurse(event)
      return event?.type ?? null
    },
  }
}
