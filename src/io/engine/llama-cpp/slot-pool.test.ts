import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SlotPool } from './slot-pool.ts'

const timeout = 5000
const never = new AbortController().signal

describe('SlotPool', { timeout }, () => {
  it('hands a freed slot to who waited longest', async () => {
    const pool = new SlotPool('m', ['s'], 2)
    const first = await pool.acquire(never)
    const waiting = [pool.acquire(never), pool.acquire(never)]
    assert.deepEqual(pool.load(), { free: 0, queued: 2 })
    first?.release()
    const second = await waiting[0]
    assert.deepEqual([second?.slot, pool.load().queued], ['s', 1])
    second?.release()
    ;(await waiting[1])?.release()
    assert.deepEqual(pool.load(), { free: 1, queued: 0 })
  })

  it('says busy beyond the queue', async () => {
    const pool = new SlotPool('m', ['s'], 0)
    await pool.acquire(never)
    await assert.rejects(pool.acquire(never), { code: 'busy', retryable: true })
  })

  it('forgets who aborts while waiting, and counts a double release once', async () => {
    const pool = new SlotPool('m', ['s'], 1)
    const lease = await pool.acquire(never)
    const abort = new AbortController()
    const waiting = pool.acquire(abort.signal)
    abort.abort()
    assert.equal(await waiting, null)
    assert.equal(await pool.acquire(AbortSignal.abort()), null)
    lease?.release()
    lease?.release()
    assert.deepEqual(pool.load(), { free: 1, queued: 0 })
  })
})
