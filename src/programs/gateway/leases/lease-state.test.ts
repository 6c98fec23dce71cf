import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../../../core/base/refusal.ts'
import {
  decide,
  evolve,
  hasOwner,
  NEW_LEASE,
  type LeaseCommand,
} from '../../../core/market/lease-life.ts'
import { LEASE_PHASES } from '../../../core/protocol/lease-control.ts'
import { aDeployment } from '../../../io/store/deployment-samples.ts'
import { leaseDocSchema, type LeaseRecord } from '../../../io/store/deployment-records.ts'
import { changeOf, lifeOf, memoryOf, NO_MEMORY } from './lease-state.ts'

describe("a lease's record", () => {
  it('is its life, written down: whatever happens, it is read back as it was', () => {
    fc.assert(
      fc.property(fc.array(aStep(), { maxLength: 60, size: 'max' }), (steps) => {
        let record = anOrder()
        let life = lifeOf(record, NO_MEMORY)
        assert.deepEqual(life, NEW_LEASE)
        for (const [now, step] of steps.entries()) {
          const command = step(lifeOf(record, memoryOf(life)))
          const events = decide(life, command, now)
          if (isRefusal(events) || events.length === 0) continue
          const after = events.reduce(evolve, life)
          const change = changeOf(life, after, events, record)
          // As PostgreSQL keeps it.
          const doc = leaseDocSchema.parse(JSON.parse(JSON.stringify(change.doc)))
          const billedUntil =
            change.billedUntil === undefined ? record.billedUntil : change.billedUntil
          record = { ...record, ...change, doc, billedUntil }
          assert.deepEqual(lifeOf(record, memoryOf(after)), after)
          life = after
        }
      }),
      { numRuns: 500 },
    )
  })

  it('leaves to payments until when its time is paid', () => {
    const record = aRunning()
    const life = lifeOf(record, NO_MEMORY)
    const at = { node: 'node_x', epoch: 1 }
    const command = { type: 'report', phase: 'degraded', message: '', ...at } as const
    const events = decide(life, command, 9)
    assert.ok(!isRefusal(events))
    const change = changeOf(life, events.reduce(evolve, life), events, record)
    assert.equal('billedUntil' in change, false)
  })

  it('of an earlier version is read: nobody had counted failed starts, or who drains it', () => {
    const record = aRunning()
    const { failedStarts: _, drain: __, ...before } = record.doc
    const doc = leaseDocSchema.parse(before)
    const life = lifeOf(
      { ...record, state: 'draining', doc: { ...doc, message: 'bye' } },
      NO_MEMORY,
    )
    assert.ok(life.status === 'draining' && life.by === 'tenant' && life.reason === 'bye')
    assert.equal(life.failedStarts, 0)
  })
})

function aRunning(): LeaseRecord {
  const [record] = aDeployment('acct_none').leases
  assert.ok(record)
  return record
}

function anOrder(): LeaseRecord {
  const record = aRunning()
  const doc = { ...record.doc, ownerEpoch: null }
  return { ...record, state: 'ordered', epoch: 0, node: null, billedUntil: null, doc }
}

type Life = ReturnType<typeof lifeOf>
const text = fc.constantFrom('why', '')

const speaker = (life: Life) => {
  const { node, epoch } = hasOwner(life) ? life.owner : { node: 'a', epoch: 0 }
  return { node, epoch }
}

/** What fits the life as it is, so that it gets far. */
function aStep(): fc.Arbitrary<(life: Life) => LeaseCommand> {
  return fc.oneof(
    {
      weight: 3,
      arbitrary: fc
        .constantFrom('a', 'b')
        .map((node) => () => ({ type: 'ask' as const, node, acceptBy: 1e6 })),
    },
    {
      weight: 3,
      arbitrary: fc.constant((life: Life) => {
        const asked = 'asked' in life ? life.asked : null
        return { type: 'accept' as const, node: asked?.node ?? 'a', epoch: asked?.epoch ?? 0 }
      }),
    },
    {
      weight: 5,
      arbitrary: fc
        .tuple(fc.constantFrom(...LEASE_PHASES), text)
        .map(([phase, message]) => (life: Life) => ({
          type: 'report' as const,
          phase,
          message,
          ...speaker(life),
        })),
    },
    text.map((why) => () => ({ type: 'give-up' as const, why })),
    text.map((why) => (life: Life) => ({ type: 'stopped' as const, why, ...speaker(life) })),
    text.map((reason) => (life: Life) => ({
      type: 'give-notice' as const,
      reason,
      noticeMs: 5,
      ...speaker(life),
    })),
    fc.bigInt({ min: -1n, max: 100n }).map((leftNanoUsd) => () => ({
      type: 'bill' as const,
      funds: { setAsideNanoUsd: 100n, leftNanoUsd },
    })),
    text.map((reason) => () => ({ type: 'leave' as const, by: 'tenant' as const, reason })),
    fc.constantFrom('update' as const, 'look' as const).map((type) => () => ({ type })),
  )
}
