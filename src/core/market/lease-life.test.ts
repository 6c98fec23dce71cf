import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { LEASE_PHASES, type LeasePhase } from '../protocol/lease-control.ts'
import { GRACE_MS } from './deployment-life.ts'
import {
  AVOID_MS,
  avoidedNow,
  decide,
  evolve,
  hasOwner,
  keepsVolumes,
  MAX_FAILED_STARTS,
  NEW_LEASE,
  STOPPED_MS,
  type LeaseCommand,
  type LeaseEvent,
  type LeaseLife,
} from './lease-life.ts'

const HOUR = 3_600_000

describe('a lease', () => {
  it('goes from its order to its end, and is billed from when it first runs', () => {
    const lease = aLease()
    lease.at(1, ask('a'))
    lease.at(2, accept('a', 1))
    lease.at(3, report('a', 1, 'pulling'))
    assert.equal(lease.owner.billedUntil, null)
    lease.at(5, report('a', 1, 'running'))
    lease.at(9, report('a', 1, 'degraded'))
    lease.at(11, report('a', 1, 'running'))
    assert.deepEqual([lease.owner.startedAt, lease.owner.billedUntil], [5, 5])
    lease.at(20, leave('tenant'))
    lease.at(24, { type: 'stopped', node: 'a', epoch: 1, why: 'told to' })
    assert.deepEqual(lease.statuses, [
      'bid',
      'accepted',
      'starting',
      'running',
      'degraded',
      'running',
      'draining',
      'closed',
    ])
  })

  it('opens its order again when its node is lost, and leaves that one alone for a while', () => {
    const lease = running()
    lease.at(99, { type: 'lose', node: 'a', why: 'silent' })
    assert.equal(lease.life.status, 'ordered')
    assert.deepEqual([...avoidedNow(lease.life, 98 + AVOID_MS)], ['a'])
    assert.deepEqual([...avoidedNow(lease.life, 99 + AVOID_MS)], [])
    lease.at(100, ask('b'))
    lease.at(101, accept('b', 2))
    assert.ok(lease.refused(102, report('a', 1, 'running')), 'a zombie finds its epoch stale')
    assert.ok(lease.refused(102, accept('a', 1)))
    assert.ok(lease.refused(102, { type: 'lose', node: 'a', why: 'again' }))
    assert.deepEqual([lease.owner.node, lease.owner.billedUntil], ['b', null])
  })

  it('takes no answer that is late, stale, or another’s', () => {
    const lease = aLease()
    lease.at(0, ask('a', 10))
    assert.ok(lease.refused(5, accept('b', 1)))
    assert.ok(lease.refused(5, accept('a', 2)))
    assert.ok(lease.refused(11, accept('a', 1)))
    lease.at(12, ask('a', 20))
    assert.ok(lease.refused(13, accept('a', 1)), 'the question is another one')
    lease.at(20, accept('a', 2))
  })

  it('tells once that no node takes it, and stands', () => {
    const lease = aLease()
    const giveUp: LeaseCommand = { type: 'give-up', why: 'full' }
    lease.at(0, giveUp)
    lease.at(1, giveUp)
    lease.at(2, ask('a'))
    lease.at(3, giveUp)
    const told = lease.events.flatMap((one) => (one.type === 'lease.waiting' ? one.again : []))
    assert.deepEqual(told, [false, true])
    assert.equal(lease.life.status, 'ordered')
  })

  it('is closed after three nodes in a row that could not start it', () => {
    const lease = aLease()
    for (let epoch = 1; epoch <= MAX_FAILED_STARTS; epoch++) {
      assert.equal(lease.life.status, 'ordered')
      lease.at(epoch * HOUR, ask('a'))
      lease.at(epoch * HOUR, accept('a', epoch))
      lease.at(epoch * HOUR, { ...report('a', epoch, 'failed'), message: 'no such image' })
    }
    assert.ok(lease.life.status === 'closed' && /3 nodes: no such image/.test(lease.life.reason))
  })

  it('counts failed starts anew once it has run, and what fails later is degraded', () => {
    const lease = aLease()
    lease.at(0, ask('a'))
    lease.at(0, accept('a', 1))
    lease.at(0, report('a', 1, 'failed'))
    lease.at(1, ask('b'))
    lease.at(1, accept('b', 2))
    lease.at(1, report('b', 2, 'running'))
    assert.equal(lease.life.failedStarts, 0)
    lease.at(2, report('b', 2, 'failed'))
    assert.equal(lease.life.status, 'degraded')
  })

  it('moves before its provider leaves, or opens its order when the notice is over', () => {
    const notice = { ...speaker('a', 1), noticeMs: HOUR, reason: 'moving house' }
    const lease = running()
    lease.at(100, { type: 'give-notice', ...notice })
    assert.ok(lease.life.status === 'draining' && lease.life.until === 100 + HOUR)
    assert.equal(lease.owner.billedUntil, 10, 'it is billed while it runs on')
    lease.at(101, { type: 'give-notice', ...notice, noticeMs: 0 })
    lease.at(99 + HOUR, { type: 'look' })
    assert.equal(lease.life.status, 'draining')
    assert.ok(lease.refused(101, ask('a')), 'not to where it leaves from')
    const gone = running()
    gone.at(100, { type: 'give-notice', ...notice })
    gone.at(100 + HOUR, { type: 'look' })
    assert.equal(gone.life.status, 'ordered')
    lease.at(200, ask('b'))
    lease.at(201, accept('b', 2))
    assert.deepEqual([lease.life.status, lease.owner.node], ['accepted', 'b'])
  })

  it('ends when its tenant says so, whatever its provider does and whether or not it says that it stopped', () => {
    const lease = running()
    lease.at(100, { type: 'give-notice', ...speaker('a', 1), noticeMs: HOUR, reason: 'bye' })
    lease.at(200, leave('tenant'))
    assert.ok(lease.refused(201, leave('tenant')), 'nobody puts off an end that was told')
    assert.ok(lease.refused(201, ask('b')) && lease.refused(201, { type: 'update' }))
    lease.at(199 + STOPPED_MS, { type: 'look' })
    assert.equal(lease.life.status, 'draining')
    lease.at(200 + STOPPED_MS, { type: 'look' })
    assert.equal(lease.life.status, 'closed')
    const unowned = aLease()
    unowned.at(1, leave('tenant'))
    assert.equal(unowned.life.status, 'closed')
  })

  it('takes new terms at its node or at another, and runs on as it was when nobody does', () => {
    const lease = running()
    lease.at(50, ask('a'))
    assert.equal(lease.life.status, 'running')
    lease.at(51, { type: 'give-up', why: 'full' })
    assert.equal(lease.events.at(-1)?.type, 'lease.update_refused')
    assert.deepEqual([lease.life.status, lease.owner.epoch, lease.life.epoch], ['running', 1, 2])
    lease.at(52, report('a', 1, 'degraded'))
    lease.at(53, ask('b'))
    lease.at(54, accept('b', 3))
    assert.deepEqual(lease.owner, { ...speaker('b', 3), startedAt: null, billedUntil: null })
    lease.at(55, report('b', 3, 'running'))
    lease.at(56, { type: 'update' })
    assert.equal(lease.life.status, 'degraded', 'until its node says that it runs so')
  })

  it('is warned, given a grace and ended when its money is out, and keeps its volumes', () => {
    const lease = running()
    lease.at(1_000, bill(20n))
    lease.at(2_000, bill(0n))
    lease.at(1_999 + GRACE_MS, bill(-5n))
    assert.deepEqual(lease.statuses.at(-1), 'running')
    lease.at(2_000 + GRACE_MS, bill(-5n))
    assert.deepEqual(
      lease.events.map(({ type }) => type).filter((type) => type.startsWith('money.')),
      ['money.low', 'money.out', 'money.over'],
    )
    const { life } = lease
    assert.ok(life.status === 'draining' && life.by === 'money')
    assert.ok(keepsVolumes(lease.life))
  })

  it('keeps its rules whatever comes, in whatever order', () => {
    const seen = new Set<string>()
    fc.assert(
      fc.property(fc.array(aCommand(), { maxLength: 100, size: 'max' }), (steps) => {
        const lease = aLease()
        let now = 0
        for (const { ms, command: wild, fits } of steps) {
          now += ms
          const before = lease.life
          const command = fits ? fitted(wild, before) : wild
          const decision = decide(before, command, now)
          if (isRefusal(decision)) continue
          assert.notEqual(before.status, 'closed', 'closed is final')
          for (const event of decision) {
            seen.add(holdsFor(lease.life, event, lease.take(event)))
          }
          canClose(lease.life, now)
        }
        const owners = lease.events.flatMap((event) =>
          event.type === 'lease.accepted' ? event.epoch : [],
        )
        const inOrder = [...new Set(owners)].toSorted((a, b) => a - b)
        assert.deepEqual(owners, inOrder, 'an epoch has one owner')
      }),
      { numRuns: 2000 },
    )
    const missing = Object.entries(NEXT).flatMap(([from, to]) =>
      to.map((one) => `${from} → ${one}`).filter((step) => !seen.has(step)),
    )
    assert.deepEqual(missing, [], 'every step was taken')
  })
})

/** What may follow what by one event. Each may stay as it is. */
const NEXT: Record<LeaseLife['status'], readonly LeaseLife['status'][]> = {
  ordered: ['bid', 'closed'],
  bid: ['accepted', 'ordered', 'closed'],
  accepted: ['starting', 'running', 'degraded', 'draining', 'ordered'],
  starting: ['accepted', 'running', 'degraded', 'draining', 'ordered'],
  running: ['accepted', 'degraded', 'draining', 'ordered'],
  degraded: ['accepted', 'starting', 'running', 'draining', 'ordered'],
  draining: ['accepted', 'closed', 'ordered'],
  closed: [],
}
const BILLED: readonly LeaseLife['status'][] = ['running', 'degraded', 'draining']

/** Returns the step that it was. */
function holdsFor(before: LeaseLife, event: LeaseEvent, after: LeaseLife): string {
  const step = `${before.status} → ${after.status}`
  const next: readonly string[] = NEXT[before.status]
  assert.ok(
    after.status === before.status || next.includes(after.status),
    `${step} by ${event.type}`,
  )
  if (event.type === 'node.asked') assert.equal(after.epoch, before.epoch + 1, 'epochs only grow')
  else assert.equal(after.epoch, before.epoch)
  const [had, has] = [before, after].map((life) => (hasOwner(life) ? life.owner : null))
  if (has && has.epoch !== had?.epoch) {
    assert.equal(event.type, 'lease.accepted', 'only an acceptance makes an owner')
    assert.ok('asked' in before && before.asked?.epoch === has.epoch, 'and one that was asked for')
    assert.ok(has.epoch > (had?.epoch ?? 0))
  }
  if (!has) return step
  assert.ok(has.epoch <= after.epoch)
  if (has.billedUntil !== null)
    assert.ok(BILLED.includes(after.status), `billed while ${after.status}`)
  if (after.status === 'running') assert.ok(has.billedUntil !== null && has.startedAt !== null)
  if (had?.epoch === has.epoch && had.billedUntil !== null)
    assert.equal(has.billedUntil, had.billedUntil, 'only payments move it')
  return step
}

/** Its tenant ends it, and then time does: from wherever it stands. */
function canClose(life: LeaseLife, now: number): void {
  const lease = aLease(life)
  if (!lease.refused(now, leave('tenant'))) lease.at(now, leave('tenant'))
  if (lease.life.status === 'draining') lease.at(lease.life.until, { type: 'look' })
  assert.equal(lease.life.status, 'closed')
}

const constant = <const T extends string>(type: T) => fc.constant(type)

/** As the one says it who is asked, or has the lease. */
function fitted(command: LeaseCommand, life: LeaseLife): LeaseCommand {
  if (!('epoch' in command)) return command
  const owner = hasOwner(life) ? life.owner : null
  const speaks = command.type === 'accept' && 'asked' in life ? life.asked : owner
  return speaks ? { ...command, node: speaks.node, epoch: speaks.epoch } : command
}

function aCommand() {
  const node = fc.constantFrom('a', 'b')
  const speaks = { node, epoch: fc.integer({ min: 1, max: 4 }) }
  const command: fc.Arbitrary<LeaseCommand> = fc.oneof(
    { weight: 8, arbitrary: node.map((one) => ask(one, 10_000)) },
    { weight: 8, arbitrary: fc.record({ type: constant('accept'), ...speaks }) },
    fc.record({ type: constant('give-up'), why: fc.constant('') }),
    fc.record({ type: constant('update') }),
    {
      weight: 12,
      arbitrary: fc.record({
        type: constant('report'),
        phase: fc.constantFrom(...LEASE_PHASES),
        message: fc.constant(''),
        ...speaks,
      }),
    },
    fc.record({ type: constant('lose'), node, why: fc.constant('') }),
    fc.record({ type: constant('stopped'), why: fc.constant(''), ...speaks }),
    {
      weight: 4,
      arbitrary: fc.record({
        type: constant('give-notice'),
        noticeMs: fc.nat(1_000),
        reason: fc.constant(''),
        ...speaks,
      }),
    },
    fc.integer({ min: -1, max: 100 }).map((left) => bill(BigInt(left))),
    fc.record({
      type: constant('leave'),
      by: fc.constantFrom('tenant', 'money'),
      reason: fc.constant(''),
    }),
    fc.record({ type: constant('look') }),
  )
  return fc.record({
    ms: fc.oneof({ weight: 9, arbitrary: fc.nat(30) }, fc.constant(GRACE_MS)),
    command,
    fits: fc.boolean(),
  })
}

const speaker = (node: string, epoch: number) => ({ node, epoch })
const ask = (node: string, acceptBy = Infinity): LeaseCommand => ({ type: 'ask', node, acceptBy })
const accept = (node: string, epoch: number): LeaseCommand => ({ type: 'accept', node, epoch })
const leave = (by: 'tenant' | 'money'): LeaseCommand => ({ type: 'leave', by, reason: 'done' })
const bill = (leftNanoUsd: bigint): LeaseCommand => ({
  type: 'bill',
  funds: { setAsideNanoUsd: 100n, leftNanoUsd },
})
const report = (node: string, epoch: number, phase: LeasePhase) =>
  ({ type: 'report', node, epoch, phase, message: '' }) as const

/** On node `a` since 10, under epoch 1. */
function running() {
  const lease = aLease()
  lease.at(0, ask('a', 10))
  lease.at(1, accept('a', 1))
  lease.at(10, report('a', 1, 'running'))
  return lease
}

function aLease(life = NEW_LEASE) {
  const lease = {
    life,
    events: [] as LeaseEvent[],
    statuses: [] as string[],
    get owner() {
      assert.ok(hasOwner(lease.life), `no owner while ${lease.life.status}`)
      return lease.life.owner
    },
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
