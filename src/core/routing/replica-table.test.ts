import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  busySlots,
  isWell,
  recordDispatch,
  recordEnd,
  recordFirstToken,
  type Replica,
} from './replica.ts'
import { MAX_EMPTY_MODELS, ReplicaTable } from './replica-table.ts'
import { aReplica, nodeId } from './test-replicas.ts'

describe('the replica table', () => {
  it('holds what a link offers, by model, until the link is gone', () => {
    const table = new ReplicaTable()
    table.setOffer('link_1', [aReplica({ link: 'link_1' }), aReplica({ model: 'other' })], 0)
    assert.deepEqual(table.models(), ['bard-3m', 'other'])
    table.removeLink('link_1', null)
    assert.deepEqual(table.models(), [])
    assert.equal(table.of('bard-3m')?.replicas.length, 0, 'known, and empty')
    assert.equal(table.of('never heard of'), null)
  })

  it('keeps the record of a model that an offer leaves as it was, and what was learnt of a changed one', () => {
    const table = new ReplicaTable()
    const first = aReplica()
    table.setOffer('link_1', [first], 0)
    recordFirstToken(first, 80)
    recordDispatch(first)
    table.setOffer('link_1', [aReplica()], 0)
    assert.equal(table.of('bard-3m')?.replicas[0], first)
    table.setOffer('link_1', [aReplica({ outputPrice: '7' })], 0)
    const second = table.of('bard-3m')?.replicas[0]
    assert.ok(second && second !== first)
    assert.equal(second.firstTokenMs, 80)
    assert.equal(busySlots(second), 1, 'what still runs there takes a slot')
    recordEnd(first, 1)
    assert.equal(table.of('bard-3m')?.pool.running, 0)
  })

  it('takes the first of a model that an offer names twice', () => {
    const table = new ReplicaTable()
    table.setOffer('link_1', [aReplica({ slots: 1 }), aReplica({ slots: 2 })], 0)
    assert.deepEqual(
      table.of('bard-3m')?.replicas.map(({ slots }) => slots),
      [1],
    )
  })

  it('reads heartbeats in the order of the offer', () => {
    const table = new ReplicaTable()
    const [a, b] = [aReplica({ model: 'a' }), aReplica({ model: 'b', offerIndex: 1 })]
    table.setOffer('link_1', [a, b], 0)
    table.heartbeat('link_1', { free: [4, 1], queued: [0, 2] })
    assert.deepEqual([busySlots(a), busySlots(b)], [0, 5])
    table.drain('link_1')
    assert.ok(a.draining && b.draining)
  })

  it('lets a node back after one lost link, a little later after two, and quarantines it after three', () => {
    const table = new ReplicaTable()
    const untilMs = [10_000, 20_000, 30_000].map((now) => {
      table.setOffer('link_1', [aReplica({ link: 'link_1' })], now)
      table.removeLink('link_1', { reason: 'reset by peer', now })
      const back = aReplica({ link: 'link_2' })
      table.setOffer('link_2', [back], now + 100)
      assert.ok(!isWell(back, now + 100))
      const until = back.cooldown?.until ?? 0
      table.removeLink('link_2', null)
      return until - now
    })
    assert.deepEqual(untilMs, [2_000, 4_000, 300_000])
    const later = aReplica({ link: 'link_3' })
    table.setOffer('link_3', [later], 95_000)
    assert.equal(later.cooldown, null, 'forgotten after the window')
  })

  it('does not hold a goodbye against a node', () => {
    const table = new ReplicaTable()
    table.setOffer('link_1', [aReplica()], 0)
    table.removeLink('link_1', null)
    const back = aReplica()
    table.setOffer('link_2', [back], 10)
    assert.equal(back.cooldown, null)
  })

  it('forgets the oldest of too many models that nobody serves', () => {
    const table = new ReplicaTable()
    for (let i = 0; i <= MAX_EMPTY_MODELS; i++) {
      table.setOffer('link_1', [aReplica({ model: `m${i}` })], 0)
    }
    table.removeLink('link_1', null)
    assert.equal(table.of('m0'), null)
    assert.ok(table.of('m1'))
  })

  it('agrees with a plain list after any history of links and attempts', () => {
    const step = fc.record({ link: fc.nat(7), model: fc.nat(2), kind: fc.nat(3) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const table = new ReplicaTable()
        const running: Replica[] = []
        for (const { link, model, kind } of steps) {
          const name = `link_${link}`
          const replica = aReplica({ node: nodeId(link), link: name, model: `m${model}` })
          if (kind === 0) table.removeLink(name, { reason: 'gone', now: 0 })
          else if (kind === 1) table.setOffer(name, [replica], 0)
          else if (kind === 2) {
            const one = table.ofLink(name)[0]
            if (one) recordDispatch(one)
            if (one) running.push(one)
          } else {
            const one = running.pop()
            if (one) recordEnd(one, 0)
          }
        }
        check(table)
      }),
    )
  })
})

function check(table: ReplicaTable): void {
  const listed = Array.from({ length: 8 }, (_, link) => table.ofLink(`link_${link}`)).flat()
  for (const model of ['m0', 'm1', 'm2']) {
    const shelf = table.of(model)
    const own = listed.filter((replica) => replica.model === model)
    assert.deepEqual(new Set(shelf?.replicas), new Set(own))
    assert.equal(shelf?.ring.size ?? 0, own.length)
    shelf?.replicas.forEach((replica, index) => assert.equal(replica.position, index))
    const running = own.reduce((sum, { outstanding }) => sum + outstanding, 0)
    assert.equal(shelf?.pool.running ?? 0, running)
    assert.equal(shelf?.pool.slots ?? 0, own.length * 4)
  }
}
