import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Slots } from './slots.ts'

const never = new AbortController().signal

describe('Slots', () => {
  it('hands a freed slot to whoever waits longest', async () => {
    const slots = new Slots(1, 2)
    const release = await slots.take(never)
    const order: string[] = []
    const first = slots.take(never).then((give) => (order.push('first'), give()))
    const second = slots.take(never).then((give) => (order.push('second'), give()))
    assert.deepEqual({ free: slots.free, queued: slots.queued }, { free: 0, queued: 2 })
    release()
    release() // giving back twice frees one slot only
    await Promise.all([first, second])
    assert.deepEqual(order, ['first', 'second'])
    assert.equal(slots.free, 1)
  })

  it('is busy at once when the queue is full', async () => {
    const slots = new Slots(1, 0)
    await slots.take(never)
    await assert.rejects(slots.take(never), { code: 'busy', retryable: true })
  })

  it('lets a waiting caller give up without losing a slot', async () => {
    const slots = new Slots(1, 1)
    const release = await slots.take(never)
    const leaving = new AbortController()
    const waiting = slots.take(leaving.signal)
    leaving.abort(new Error('left'))
    await assert.rejects(waiting, /left/)
    release()
    assert.deepEqual({ free: slots.free, queued: slots.queued }, { free: 1, queued: 0 })
  })
})
