import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Fault } from '../../core/base/refusal.ts'
import { testStore } from '../../io/store/testing.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { startSharedClock } from './shared-clock.ts'

const HOUR_MS = 3_600_000

describe('the time that gateways share', { timeout: 30_000 }, () => {
  it('is the database’s, whatever the own clock says', async (t) => {
    const store = await testStore(t)
    const before = Date.now()
    t.mock.method(Date, 'now', () => before + HOUR_MS)
    const clock = await startSharedClock({ store, logger: silentLogger })
    t.after(() => clock.close())
    const apartMs = clock.now() - before
    assert.ok(apartMs >= -5 && apartMs < 10_000, `${apartMs} ms from the real time`)
    assert.ok(Number.isSafeInteger(clock.now()))
  })

  it('takes the quickest of the first looks', async (t) => {
    const { clock } = await setup(t, [
      { tookMs: 900, says: 5_900 },
      { tookMs: 10, says: 10_005 },
      { tookMs: 400, says: 90_000 },
    ])
    // Asked at 900, answered at 910: in the middle it was 10,005 there.
    assert.equal(clock.now(), 10_005 + 5 + 400)
  })

  it('goes on while the database is away, and follows it afterwards', async (t) => {
    const { clock, pass, next } = await setup(t, [])
    const begin = clock.now()
    pass(5_000)
    next('away')
    await assert.rejects(clock.look(), Fault)
    assert.equal(clock.now(), begin + 5_000)
    next({ tookMs: 2, says: begin + HOUR_MS })
    await clock.look()
    assert.equal(clock.now(), begin + HOUR_MS + 1)
  })

  it('believes no answer that took over a second, and no difference within its round trip', async (t) => {
    const { clock, next } = await setup(t, [])
    const begin = clock.now()
    next({ tookMs: 1_001, says: begin + HOUR_MS })
    await clock.look()
    assert.equal(clock.now(), begin + 1_001)
    next({ tookMs: 1_000, says: begin + 1_001 + 500 + 500 })
    await clock.look()
    assert.equal(clock.now(), begin + 2_001)
    next({ tookMs: 1_000, says: begin + 2_001 + 500 + 501 })
    await clock.look()
    assert.equal(clock.now(), begin + 3_001 + 501)
  })
})

type Answer = { readonly tookMs: number; readonly says: number } | 'away'

/** A monotonic clock that passes when told to, and a database that answers as told: at once the same, else. */
async function setup(t: TestContext, first: readonly Answer[]) {
  let passedMs = 0
  const answers = [...first]
  const store = {
    clock() {
      const answer = answers.shift() ?? { tookMs: 0, says: 1_000_000 + passedMs }
      if (answer === 'away') return Promise.reject(new Fault('store_unavailable', 'away'))
      passedMs += answer.tookMs
      return Promise.resolve(answer.says)
    },
  }
  const clock = await startSharedClock({ store, logger: silentLogger, monotonic: () => passedMs })
  t.after(() => clock.close())
  return {
    clock,
    pass: (ms: number) => void (passedMs += ms),
    next: (answer: Answer) => void answers.push(answer),
  }
}
