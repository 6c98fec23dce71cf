import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { pickByRendezvous } from './rendezvous.ts'

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), {
  minLength: 1,
  maxLength: 40,
})
const many = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}_${i}`)

describe('rendezvous hashing', () => {
  it('picks so many distinct names, whatever their order', () => {
    fc.assert(
      fc.property(fc.string(), names, fc.integer({ min: 0, max: 50 }), (key, all, count) => {
        const picked = pickByRendezvous(key, all, count)
        assert.equal(picked.length, Math.min(count, all.length))
        assert.equal(new Set(picked).size, picked.length)
        assert.deepEqual(pickByRendezvous(key, all.toReversed(), count), picked)
      }),
    )
  })

  it('moves nobody who had not picked the name that went, and one pick of those who had', () => {
    fc.assert(
      fc.property(fc.string(), names, fc.nat(39), (key, all, which) => {
        const gone = all[which % all.length] ?? ''
        const before = pickByRendezvous(key, all, 3)
        const left = all.filter((name) => name !== gone)
        const after = pickByRendezvous(key, left, 3)
        const kept = before.filter((name) => name !== gone)
        assert.deepEqual(after.slice(0, kept.length), kept)
      }),
    )
  })

  it('gives each of 20 gateways its share of 10,000 nodes', () => {
    const gateways = many('gw', 20)
    const load = new Map(gateways.map((name) => [name, 0]))
    for (const node of many('node', 10_000))
      for (const name of pickByRendezvous(node, gateways, 3))
        load.set(name, (load.get(name) ?? 0) + 1)
    // Binomial: 1,500 expected, a standard deviation of 36; five of them.
    for (const [name, links] of load) assert.ok(Math.abs(links - 1_500) < 180, `${name}: ${links}`)
  })
})
