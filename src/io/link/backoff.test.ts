import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../core/base/random.ts'
import { Backoff } from './backoff.ts'

describe('backoff', () => {
  it('doubles its ceiling from 0.2 s to 15 s', () => {
    const backoff = new Backoff(() => 1)
    const waits = Array.from({ length: 9 }, () => backoff.nextMs(0))
    assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000])
  })

  it('begins anew after a link that lasted a quarter of a second, not after a short one', () => {
    const backoff = new Backoff(() => 1)
    backoff.nextMs(0)
    assert.equal(backoff.nextMs(249), 400)
    assert.equal(backoff.nextMs(250), 200)
  })

  it('spreads nodes over the whole wait', () => {
    const waits = Array.from({ length: 1_000 }, (_, seed) =>
      new Backoff(seededRandom(seed)).nextMs(0),
    )
    const mean = waits.reduce((sum, ms) => sum + ms, 0) / waits.length
    assert.ok(mean > 90 && mean < 110, `mean ${mean} of seeds 0 to 999`)
    assert.ok(Math.min(...waits) < 10 && Math.max(...waits) > 190)
  })
})
