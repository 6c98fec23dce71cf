import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import {
  decide,
  evolve,
  hasOwner,
  NEW_LEASE,
  type LeaseCommand,
  type LeaseEvent,
  type LeaseLife,
} from './lease-life.ts'

const HOUR = 3_600_000

describe('a lease', () => {
  it('goes from the question to the end, and is billed while it runs', () => {
    const lease = aLease()
    lease.at(0, { type: 'order' })
    lease.at(1, ask('a'))
    lease.at(2, { type: 'accept', node: 'a', epoch: 1 })
    lease.at(3, report('a', 1, 'starting'))
    lease.at(5, report('a', 1, 'running'))
    lease.at(9, report('a', 1, 'degraded'))
    lease.at(11, report('a', 1, 'running'))
    lease.at(15, { type: 'hear', node: 'a', epoch: 1 })
    lease.at(20, { type: 'leave', by: 'tenant', reason: 'done', graceMs: 10 })
    lease.at(24, { type: 'stopped', node: 'a', epoch: 1, why: 'told to' })
    assert.deepEqual(lease.statuses, [
      'ordered',
      'bid',
      'accepted',
      'starting',
      'running',
      'degraded',
      'running',
      'running',
      'draining',
      'closed',
    ])
    const closed = { type: 'lease.closed', billedUntil: 24, reason: 'done' }
    assert.deepEqual(lease.events.at(-1), closed)
  })

  it('stops billing when the owner was last heard, and opens the order under a higher epoch', () => {
    const lease = running()
    lease.at(50, { type: 'hear', node: 'a', epoch: 1 })
    lease.at(99, { type: 'lose', node: 'a', why: 'silent' })
    const reopened = lease.events.at(-1)
    assert.ok(reopened?.type === 'order.reopened' && reopened.billedUntil === 50)
    lease.at(100, ask('b'))
    lease.at(101, { type: 'accept', node: 'b', epoch: 2 })
    assert.ok(lease.refused(102, report('a', 1, 'running')), 'a zombie finds its epoch stale')
    assert.ok(lease.refused(102, { type: 'accept', node: 'a', epoch: 1 }))
    assert.ok(hasOwner(lease.life) && lease.life.owner.node === 'b' && lease.life.billing === null)
  })

  it('takes no answer that is late, stale, or another’s', () => {
    const lease = aLease()
    lease.at(0, { type: 'order' })
    lease.at(0, ask('a', 10))
    assert.ok(lease.refused(5, { type: 'accept', node: 'b', epoch: 1 }))
    assert.ok(lease.refused(5, { type: 'accept', node: 'a', epoch: 2 }))
    assert.ok(lease.refused(11, { type: 'accept', node: 'a', epoch: 1 }))
    lease.at(11, { type: 'look' })
    assert.equal(lease.life.status, 'ordered')
    lease.at(12, ask('a'))
    assert.equal(lease.life.epoch, 2)
  })

  it('gives its notice before a provider leaves, and then finds another node', () => {
    const lease = running({ noticeMs: HOUR })
    lease.at(100, { type: 'leave', by: 'provider', reason: 'moving house', graceMs: 0 })
    assert.ok(lease.life.status === 'draining' && lease.life.until === 100 + HOUR)
    assert.ok(lease.refused(101, { type: 'leave', by: 'provider', reason: 'now', graceMs: 0 }))
    lease.at(100 + HOUR - 1, { type: 'look' })
    assert.equal(lease.life.status, 'draining')
    lease.at(100 + HOUR, { type: 'look' })
    assert.equal(lease.life.status, 'ordered')
  })

  it('lets the tenant end what its provider drains, at any time', () => {
    const lease = running({ noticeMs: HOUR })
    lease.at(100, { type: 'leave', by: 'provider', reason: 'moving house', graceMs: 0 })
    lease.at(200, { type: 'leave', by: 'tenant', reason: 'so will I', graceMs: 0 })
    lease.at(200, { type: 'look' })
    assert.equal(lease.life.status, 'closed')
    const unowned = aLease()
    unowned.at(0, { type: 'order' })
    unowned.at(1, { type: 'leave', by: 'tenant', reason: 'changed my mind', graceMs: 9 })
    assert.equal(unowned.life.status, 'closed')
  })

  it('is updated in place by an amended bid under the next epoch', () => {
    const lease = running()
    const terms = { node: 'a', epoch: 2, rate: 9n, noticeMs: 0 }
    assert.ok(lease.refused(50, { type: 'amend', terms: { ...terms, epoch: 1 } }))
    assert.ok(lease.refused(50, { type: 'amend', terms: { ...terms, node: 'b' } }))
    lease.at(50, { type: 'amend', terms })
    assert.ok(hasOwner(lease.life) && lease.life.owner.rate === 9n)
    assert.deepEqual(hasOwner(lease.life) && lease.life.billing, { from: 10, until: 50 })
    assert.ok(lease.refused(51, { type: 'hear', node: 'a', epoch: 1 }))
  })

  it('keeps its rules whatever comes, in whatever order', () => {
    fc.assert(
      fc.property(fc.array(aCommand(), { maxLength: 60 }), (steps) => {
        const lease = aLease()
        let now = 0
        for (const { ms, command } of steps) {
          now += ms
          const before = lease.life
          const decision = decide(before, command, now)
          if (isRefusal(decision)) continue
          assert.notEqual(before.status, 'closed', 'closed is final')
          for (const event of decision) holdsFor(lease.life, event, now, lease.take(event))
        }
        const owners = lease.events.flatMap((event) =>
          event.type === 'lease.accepted' || event.type === 'lease.amended' ? event.terms : [],
        )
        const epochs = owners.map(({ epoch }) => epoch)
        assert.deepEqual(
          epochs,
          [...new Set(epochs)].toSorted((a, b) => a - b),
          'an epoch, an owner',
        )
      }),
      { numRuns: 2000 },
    )
  })
})

/** DESIGN's states: what may follow what. Each may stay as it is. */
const NEXT: Record<LeaseLife['status'], readonly LeaseLife['status'][]> = {
  screened: ['ordered', 'closed'],
  ordered: ['bid', 'closed'],
  bid: ['accepted', 'ordered', 'closed'],
  accepted: ['starting', 'running', 'degraded', 'draining', 'ordered'],
  starting: ['running', 'degraded', 'draining', 'ordered'],
  running: ['degraded', 'draining', 'ordered'],
  degraded: ['running', 'draining', 'ordered'],
  draining: ['closed', 'ordered'],
  closed: [],
}

function holdsFor(before: LeaseLife, event: LeaseEvent, now: number, after: LeaseLife): void {
  const step = `${before.status} → ${after.status}`
  assert.ok(after.status === before.status || NEXT[before.status].includes(after.status), step)
  assert.ok(after.epoch >= before.epoch)
  const billed = hasOwner(before) ? before.billing : null
  if (event.type === 'order.reopened' || event.type === 'lease.closed')
    assert.equal(event.billedUntil, billed?.until ?? null, 'billed until last heard')
  if (!hasOwner(after)) return
  assert.equal(after.owner.epoch, after.epoch)
  if (!after.billing) return
  assert.ok(after.billing.from <= after.billing.until && after.billing.until <= now)
  if (billed) assert.ok(after.billing.until >= billed.until, 'time never runs back')
}

const constant = <const T extends string>(type: T) => fc.constant(type)

function aCommand() {
  const node = fc.constantFrom('a', 'b')
  const epoch = fc.integer({ min: 1, max: 5 })
  const speaker = { node, epoch }
  const command: fc.Arbitrary<LeaseCommand> = fc.oneof(
    fc.record({ type: constant('order') }),
    node.map((one) => ask(one, 50)),
    fc.record({ type: constant('accept'), ...speaker }),
    fc.record({ type: constant('decline'), why: fc.constant(''), ...speaker }),
    fc.record({ type: constant('hear'), ...speaker }),
    fc.record({
      type: constant('report'),
      phase: fc.constantFrom('starting', 'running', 'degraded'),
      message: fc.constant(''),
      ...speaker,
    }),
    fc.record({
      type: constant('amend'),
      terms: fc.record({ ...speaker, rate: fc.constant(2n), noticeMs: fc.constant(5) }),
    }),
    fc.record({ type: constant('lose'), node, why: fc.constant('') }),
    fc.record({ type: constant('stopped'), why: fc.constant(''), ...speaker }),
    fc.record({
      type: constant('leave'),
      by: fc.constantFrom('tenant', 'money', 'provider'),
      reason: fc.constant(''),
      graceMs: fc.nat(20),
    }),
    fc.record({ type: constant('look') }),
  )
  return fc.record({ ms: fc.nat(30), command })
}

function ask(node: string, acceptBy = Infinity, noticeMs = 0): LeaseCommand {
  return { type: 'ask', terms: { node, rate: 1n, noticeMs }, acceptBy }
}

const report = (
  node: string,
  epoch: number,
  phase: 'starting' | 'running' | 'degraded',
): LeaseCommand => ({ type: 'report', node, epoch, phase, message: '' })

/** On node `a` since 10, under epoch 1. */
function running({ noticeMs = 0 }: { noticeMs?: number } = {}) {
  const lease = aLease()
  lease.at(0, { type: 'order' })
  lease.at(0, ask('a', 10, noticeMs))
  lease.at(1, { type: 'accept', node: 'a', epoch: 1 })
  lease.at(10, report('a', 1, 'running'))
  return lease
}

function aLease() {
  const lease = {
    life: NEW_LEASE,
    events: [] as LeaseEvent[],
    statuses: [] as string[],
    take(event: LeaseEvent): LeaseLife {
      lease.events.push(event)
      return (lease.life = evolve(lease.life, event))
    },
    at(now: number, command: LeaseCommand): void {
      const decision = decide(lease.life, command, now)
      assert.ok(!isRefusal(decision), isRefusal(decision) ? decision.message : '')
      for (const event of decision) lease.take(event)
      lease.statuses.push(lease.life.status)
    },
    refused: (now: number, command: LeaseCommand) => isRefusal(decide(lease.life, command, now)),
  }
  return lease
}
