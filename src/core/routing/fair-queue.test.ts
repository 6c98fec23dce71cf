import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../base/random.ts'
import { isRefusal } from '../base/refusal.ts'
import { FairQueue, type Waiting } from './fair-queue.ts'

const anything = () => true

describe('the fair queue', () => {
  it('gives two tenants equal tokens, though one asks a hundred times as much', () => {
    const { queue, push } = setup({ inAll: 1000, perTenant: 200 })
    const random = seededRandom(3)
    const served = { greedy: 0, modest: 0 }
    for (let i = 0; i < 5000; i++) {
      for (let k = 0; k < 100; k++) push('greedy', 10 + Math.floor(random() * 500))
      push('modest', 300)
      const item = queue.pop(0, anything)
      assert.ok(item)
      // What an answer really takes differs from the estimate, and is charged when it is over.
      const real = Math.floor(item.tokens * (0.5 + random()))
      queue.charge(item.tenant, real - item.tokens)
      served[item.tenant as 'greedy'] += real
    }
    const share = served.modest / (served.greedy + served.modest)
    assert.ok(Math.abs(share - 0.5) < 0.01, `the modest tenant had ${share}`)
  })

  it('lets nobody save up: a newcomer starts level with the least served', () => {
    const { queue, push } = setup()
    for (let i = 0; i < 50; i++) push('old', 100)
    for (let i = 0; i < 40; i++) queue.pop(0, anything)
    for (let i = 0; i < 10; i++) push('new', 100)
    const next = Array.from({ length: 10 }, () => queue.pop(0, anything)?.tenant)
    assert.equal(next.filter((tenant) => tenant === 'new').length, 5, next.join())
  })

  it('keeps the order within a tenant', () => {
    const { queue, push } = setup()
    for (const tokens of [1, 2, 3]) push('a', tokens)
    const order = Array.from({ length: 3 }, () => queue.pop(0, anything)?.tokens)
    assert.deepEqual(order, [1, 2, 3])
    assert.equal(queue.pop(0, anything), null)
  })

  it('passes by a tenant whose oldest cannot be served now', () => {
    const { queue, push } = setup()
    push('a', 1)
    push('b', 2)
    assert.equal(queue.pop(0, ({ tenant }) => tenant === 'b')?.tenant, 'b')
    assert.equal(
      queue.pop(0, ({ tenant }) => tenant === 'b'),
      null,
    )
    assert.equal(queue.pop(0, anything)?.tenant, 'a')
  })

  it('refuses with the numbers when the queue, or the tenant’s part of it, is full', () => {
    const { push } = setup({ inAll: 3, perTenant: 2 })
    assert.equal(push('a', 1) ?? push('a', 1), null)
    const own = push('a', 1)
    assert.deepEqual(own?.details, { waiting: 2, limit: 3, yours: 2, yourLimit: 2 })
    assert.equal(push('b', 1), null)
    assert.equal(push('c', 1)?.code, 'queue_full')
  })

  it('takes out those whose deadline has come, and does not serve them before', () => {
    const { queue, push } = setup()
    push('a', 1, 100)
    push('a', 2, 300)
    push('b', 3, 50)
    assert.equal(queue.pop(100, anything)?.tokens, 2)
    assert.deepEqual(
      queue.expire(100).map(({ tokens }) => tokens),
      [3, 1],
    )
    assert.equal(queue.size, 0)
  })

  it('forgets idle tenants, however many there were', () => {
    const { queue, push } = setup({ inAll: 10, perTenant: 10 })
    for (let i = 0; i < 25_000; i++) {
      push(`tenant ${i}`, 5)
      assert.ok(queue.pop(0, anything))
    }
    push('last', 1)
    assert.equal(queue.pop(0, anything)?.tenant, 'last')
  })

  it('loses nobody and serves nobody twice, whatever happens', () => {
    const step = fc.record({ kind: fc.nat(5), tenant: fc.nat(4), tokens: fc.nat(50) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const queue = new FairQueue<number>({ inAll: 20, perTenant: 6 })
        const waiting = new Map<number, Waiting<number>>()
        steps.forEach(({ kind, tenant, tokens }, now) => {
          if (kind <= 1) {
            const entry = { tenant: `t${tenant}`, item: now, tokens, deadline: now + tokens + 1 }
            const place = queue.push(entry)
            const own = [...waiting.values()].filter((one) => one.tenant === entry.tenant).length
            assert.equal(isRefusal(place), waiting.size >= 20 || own >= 6)
            if (!isRefusal(place)) waiting.set(now, place)
          } else if (kind === 2) {
            const item = queue.pop(now, (one) => one % 3 > 0)
            if (item !== null) assert.ok(waiting.delete(item) && item % 3 > 0)
          } else if (kind === 3) {
            const first = waiting.values().next().value
            if (first) queue.remove(first)
            if (first) queue.remove(first)
            if (first) waiting.delete(first.item)
          } else if (kind === 4) {
            for (const item of queue.expire(now)) {
              assert.ok((waiting.get(item)?.deadline ?? Infinity) <= now)
              waiting.delete(item)
            }
            for (const { deadline } of waiting.values()) assert.ok(deadline > now)
          } else queue.charge(`t${tenant}`, tokens - 25)
          assert.equal(queue.size, waiting.size)
        })
        const rest = new Set<number | null>()
        while (queue.size > 0) rest.add(queue.pop(-1, anything))
        assert.deepEqual(rest, new Set(waiting.keys()))
      }),
      { numRuns: 500 },
    )
  })
})

function setup(limits = { inAll: 100, perTenant: 100 }) {
  const queue = new FairQueue<{ tenant: string; tokens: number }>(limits)
  const push = (tenant: string, tokens: number, deadline = Infinity) => {
    const place = queue.push({ tenant, tokens, deadline, item: { tenant, tokens } })
    return isRefusal(place) ? place : null
  }
  return { queue, push }
}
