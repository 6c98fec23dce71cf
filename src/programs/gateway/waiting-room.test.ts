/** Who waits, who is served first, and how one leaves. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { isRefusal } from '../../core/base/refusal.ts'
import { BEGUN, FLEXIBLE } from '../../core/routing/ranked-queue.ts'
import { gatewayConfig, type GatewayConfig } from './config.ts'
import { aClock } from './test-kit.ts'
import { createWaitingRoom, type Visitor } from './waiting-room.ts'

describe('waiting room', () => {
  it('serves the tenant that has had least, whoever came first', (t) => {
    const { room, enter, open, log } = setup(t)
    enter('alice', { tokens: 100 })
    enter('alice', { tokens: 100 })
    enter('bob', { tokens: 100 })
    open.slots = 2
    room.look()
    assert.deepEqual(log, ['retry alice', 'retry bob'])
  })

  it('counts what was really served, also to those who did not have to wait', (t) => {
    const { room, enter, open, log } = setup(t)
    enter('alice')
    enter('bob')
    room.charge('alice', 1_000)
    open.slots = 1
    room.look()
    assert.deepEqual(log, ['retry bob'])
  })

  it('expires those whose time is up, and only them', (t) => {
    const { room, enter, clock, log } = setup(t)
    enter('alice', { timeoutMs: 1_000 })
    enter('bob', { timeoutMs: 1_000, why: 'vacant' })
    enter('carol', { timeoutMs: 5_000 })
    clock.pass(900)
    assert.deepEqual(log, [])
    clock.pass(200)
    assert.deepEqual([log, room.size], [['expired alice', 'expired bob'], 1])
  })

  it('lets go who leaves, in the queue and beside it', (t) => {
    const { room, enter, clock, log } = setup(t)
    for (const why of ['full', 'vacant'] as const) {
      const leave = enter('alice', { why })
      assert.ok(!isRefusal(leave))
      leave()
      leave()
    }
    clock.pass(60_000)
    assert.deepEqual([log, room.size], [[], 0])
  })

  it('notices by itself what nobody reported', (t) => {
    const { enter, clock, open, log } = setup(t)
    enter('alice', { why: 'vacant' })
    open.slots = 1
    clock.pass(100)
    assert.deepEqual(log, ['retry alice'])
  })

  it('has no more places than it was given, in the queue and beside it', (t) => {
    const { enter } = setup(t, { queueSize: 2, queuePerTenant: 1 })
    enter('alice')
    const codes = [enter('alice'), enter('bob'), enter('carol')].map(codeOf)
    assert.deepEqual(codes, ['queue_full', null, 'queue_full'])
    const vacant = [1, 2, 3].map(() => codeOf(enter('dave', { why: 'vacant' })))
    assert.deepEqual(vacant, [null, null, 'queue_full'])
  })

  it('gives a place in a full queue to who is more urgent, and serves by rank', (t) => {
    const { room, enter, open, log } = setup(t, { queueSize: 2 })
    enter('flexible', { rank: FLEXIBLE })
    enter('ordinary')
    assert.equal(codeOf(enter('flexible too', { rank: FLEXIBLE })), 'queue_full')
    enter('begun', { rank: BEGUN })
    open.slots = 2
    room.look()
    assert.deepEqual(log, ['shed flexible: queue_full', 'retry begun', 'retry ordinary'])
  })

  it('goes on looking after a visitor that broke', (t) => {
    const { room, enter, open, log } = setup(t)
    enter('alice', {
      retry() {
        throw new Error('bug')
      },
    })
    enter('bob')
    open.slots = 2
    assert.throws(() => room.look(), /bug/)
    room.look()
    assert.deepEqual(log, ['retry bob'])
  })
})

const codeOf = (answer: unknown): string | null => (isRefusal(answer) ? answer.code : null)

function setup(t: TestContext, config: Partial<GatewayConfig> = {}) {
  const clock = aClock(t)
  const settings = gatewayConfig.parse({ home: '', databaseUrl: '', ...config })
  const room = createWaitingRoom({ config: settings, now: clock.now })
  t.after(() => room.close())
  const log: string[] = []
  const open = { slots: 0 }
  const enter = (tenant: string, more: Partial<Visitor> = {}) =>
    room.enter({
      why: 'full',
      tenant,
      tokens: 10,
      timeoutMs: 30_000,
      ready: () => open.slots > 0,
      retry() {
        open.slots -= 1
        log.push(`retry ${tenant}`)
      },
      expired: () => void log.push(`expired ${tenant}`),
      shed: ({ code }) => void log.push(`shed ${tenant}: ${code}`),
      ...more,
    })
  return { room, clock, log, open, enter }
}
