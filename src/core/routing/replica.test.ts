import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  busySlots,
  engineFamily,
  isFull,
  isWell,
  MAX_COOLDOWN_MS,
  recordBusy,
  recordDispatch,
  recordEnd,
  recordFailure,
  recordFirstToken,
  recordFree,
  recordSuccess,
  recordTokens,
  type Replica,
} from './replica.ts'
import { aReplica } from './test-replicas.ts'

describe('a replica', () => {
  it('is full when its slots and a short queue are taken', () => {
    const replica = aReplica({ slots: 8 })
    for (let i = 0; i < 10; i++) {
      assert.ok(!isFull(replica))
      recordDispatch(replica)
    }
    assert.ok(isFull(replica))
    recordEnd(replica, 1)
    assert.ok(!isFull(replica))
  })

  it('counts slots that others hold, from the heartbeat, and not our own twice', () => {
    const replica = aReplica({ slots: 8 })
    recordDispatch(replica)
    recordFree(replica, 2, 0)
    assert.equal(busySlots(replica), 6)
    recordFree(replica, 7, 0)
    assert.equal(busySlots(replica), 1)
  })

  it('is full after BUSY until another attempt of ours ends or a heartbeat tells otherwise', () => {
    const replica = aReplica({ slots: 4 })
    recordDispatch(replica)
    const refused = () => {
      recordDispatch(replica)
      recordBusy(replica)
      recordEnd(replica, 1)
    }
    refused()
    assert.ok(isFull(replica))
    recordEnd(replica, 2)
    assert.ok(!isFull(replica))
    refused()
    assert.ok(isFull(replica))
    recordFree(replica, 3, 0)
    assert.equal(busySlots(replica), 1)
  })

  it('believes trouble quickly and recovery slowly', () => {
    const replica = aReplica()
    recordFirstToken(replica, 100)
    recordFirstToken(replica, 300)
    assert.equal(replica.firstTokenMs, 200)
    recordFirstToken(replica, 100)
    assert.equal(replica.firstTokenMs, 187.5)
    recordTokens(replica, 4, 80)
    assert.equal(replica.tokenMs, 20)
    recordTokens(replica, 0, 80)
    assert.equal(replica.tokenMs, 20)
  })

  it('keeps its pool right through any history', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(99)), fc.integer({ min: 1, max: 9 }), (steps, slots) => {
        const replica = aReplica({ slots })
        for (const step of steps) apply(replica, step)
        assert.equal(replica.pool.roomy, Number(!isFull(replica)))
        assert.equal(replica.pool.running, replica.outstanding)
      }),
    )
  })

  it('names its engine family', () => {
    assert.equal(engineFamily('llama.cpp/3.22.1'), 'llama.cpp')
    assert.equal(engineFamily('vllm'), 'vllm')
  })
})

describe('cooldown', () => {
  it('grows 2 s, 4 s, 8 s … to 60 s with failures in a row, and keeps the reason', () => {
    const replica = aReplica()
    const lengths = Array.from({ length: 8 }, (_, i) => {
      const now = (i + 1) * 1_000_000
      recordFailure(replica, 'engine crashed', now - 1, now)
      return (replica.cooldown?.until ?? 0) - now
    })
    assert.deepEqual(
      lengths,
      [2, 4, 8, 16, 32, 60, 60, 60].map((s) => s * 1000),
    )
    assert.equal(replica.cooldown?.reason, 'engine crashed')
  })

  it('is not prolonged by attempts that were sent before it: one trouble, one cooldown', () => {
    const replica = aReplica()
    for (let i = 0; i < 8; i++) recordFailure(replica, 'crashed', 900, 1000 + i)
    assert.equal(replica.cooldown?.failures, 1)
    recordFailure(replica, 'crashed again', 1001, 1002)
    assert.equal(replica.cooldown?.failures, 2)
  })

  it('lets one attempt at a time through when it is over, and ends with a success', () => {
    const replica = aReplica()
    recordFailure(replica, 'crashed', 0, 1000)
    assert.ok(!isWell(replica, 2999))
    assert.ok(isWell(replica, 3000))
    recordDispatch(replica)
    assert.ok(!isWell(replica, 3000))
    recordSuccess(replica, 0)
    assert.ok(isWell(replica, 3000))
    recordFailure(replica, 'crashed', 4000, 5000)
    assert.equal(replica.cooldown?.until, 7000, 'counts from one again')
    assert.ok(MAX_COOLDOWN_MS > 2000)
  })
})

function apply(replica: Replica, step: number): void {
  if (step < 40) recordDispatch(replica)
  else if (step < 70 && replica.outstanding > 0) recordEnd(replica, step)
  else if (step < 80) recordBusy(replica)
  else recordFree(replica, step % (replica.slots + 1), step % 3)
  assert.ok(busySlots(replica) >= 0)
}
