import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { RankedQueue, type Rank } from './ranked-queue.ts'

const ranks = fc.constantFrom<Rank[]>(0, 1, 2)

describe('the queue by rank', () => {
  it('keeps its bound, sheds only what is worse and the worst there is, and serves the best first', () => {
    const arrivals = fc.array(fc.record({ rank: ranks, tenant: fc.constantFrom('a', 'b', 'c') }))
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 1, max: 8 }), (all, inAll) => {
        const queue = new RankedQueue<{ tenant: string; tokens: number; rank: Rank }>({
          inAll,
          perTenant: 100,
        })
        const inside: Rank[] = []
        all.forEach(({ rank, tenant }, at) => {
          const worst = Math.max(-1, ...inside)
          const answer = queue.push(rank, { tenant, tokens: 1, rank }, 1_000 + at)
          if (isRefusal(answer)) {
            assert.equal(answer.code, 'queue_full')
            assert.ok(inside.length === inAll && worst <= rank)
            return
          }
          inside.push(rank)
          if (!answer.shed) return
          assert.ok(answer.shed.rank > rank && answer.shed.rank === worst)
          inside.splice(inside.indexOf(answer.shed.rank), 1)
        })
        assert.equal(queue.size, inside.length)
        const served = inside.map(() => queue.pop(0, () => true)?.rank)
        assert.deepEqual(
          served,
          inside.toSorted((a, b) => a - b),
        )
      }),
    )
  })
})
