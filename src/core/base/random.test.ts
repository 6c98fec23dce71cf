import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { base32, idFrom, isId } from './id.ts'
import { drawKey, seededRandom } from './random.ts'

describe('drawKey', () => {
  it('depends on seed and on position, and on nothing else', () => {
    assert.equal(drawKey(42, 7), drawKey(42, 7))
    const keys = new Set<number>()
    for (let seed = 0; seed < 100; seed++)
      for (let at = 0; at < 100; at++) keys.add(drawKey(seed, at))
    assert.ok(keys.size > 9_990, `only ${keys.size} different keys of 10,000`)
  })
})

describe('seededRandom', () => {
  it('replays from its seed and fills [0, 1) evenly', () => {
    const [a, b] = [seededRandom(1), seededRandom(1)]
    const bins = Array.from({ length: 10 }, () => 0)
    for (let i = 0; i < 10_000; i++) {
      const x = a()
      assert.equal(x, b())
      bins[Math.floor(x * 10)]! += 1
    }
    for (const count of bins) assert.ok(Math.abs(count - 1000) < 150, `uneven: ${bins.join()}`)
  })
})

describe('ids', () => {
  it('are a prefix and 24 characters that no one misreads', () => {
    const id = idFrom('req', new Uint8Array(15).fill(255))
    assert.equal(id, `req_${'z'.repeat(24)}`)
    assert.ok(isId('req', id) && !isId('att', id) && !isId('req', 'req_'))
    assert.equal(base32(new Uint8Array([0, 1])), '000g')
  })
})
