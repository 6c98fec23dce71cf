import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { DAY } from '../../core/base/time.ts'
import { aDeployment } from './deployment-samples.ts'
import { randomId } from './samples.ts'
import { testStore, testTenant } from './testing.ts'

const timeout = 30_000
const SHA = 'a'.repeat(64)

describe('snapshots', () => {
  it('are listed newest first, and usable only when they are whole', { timeout }, async (t) => {
    const { begin, finish, list } = await setup(t)
    const [first, second, third] = [await begin(1), await begin(2), await begin(3)]
    assert.equal(await finish(first, 10), true)
    await finish(second, 20)
    assert.deepEqual(
      (await list()).map(({ id, state, bytes, sha256 }) => [id, state, bytes, sha256]),
      [
        [third, 'taking', 0, null],
        [second, 'ready', 20, SHA],
        [first, 'ready', 10, SHA],
      ],
    )
  })

  it('make room for newer ones of the same volume, and of no other', { timeout }, async (t) => {
    const { begin, finish, list } = await setup(t)
    const other = await begin(1, { volume: 'other' })
    const replica = await begin(1, { replica: 1 })
    const elsewhere = await begin(1, { place: 'elsewhere' })
    const ids = [await begin(2), await begin(3), await begin(4)]
    for (const id of [other, replica, elsewhere, ...ids]) await finish(id, 1, { keep: 2 })
    const left = (await list(100)).map(({ id }) => id)
    assert.deepEqual(new Set(left), new Set([other, replica, elsewhere, ids[1], ids[2]]))
  })

  it(
    'never take more than the limit together, in whatever order they end',
    { timeout },
    async (t) => {
      const { store, account, begin, finish, list } = await setup(t)
      const ids = await Promise.all([1, 2, 3].map((at) => begin(at, { volume: `v${at}` })))
      const taken = await Promise.all(ids.map((id) => finish(id, 40, { limitBytes: 80 })))
      assert.equal(taken.filter((one) => one).length, 2)
      assert.equal(await store.snapshotBytes(account, 100), 80)
      const refused = (await list()).find(({ state }) => state === 'taking')
      assert.ok(refused && refused.bytes === 0, 'what did not fit is not ready')
      const ready = (await list()).find(({ state }) => state === 'ready')
      const one = await begin(5, { volume: ready?.volume ?? 'none' })
      assert.equal(await finish(one, 41, { limitBytes: 81, keep: 1 }), true)
    },
  )

  it('are not finished when they were given up meanwhile', { timeout }, async (t) => {
    const { store, account, begin, finish, list } = await setup(t)
    const [failed, removed] = [await begin(1), await begin(2)]
    await store.failSnapshot(failed, 'the node went away')
    assert.ok(await store.expireSnapshot(account, removed, 50))
    assert.deepEqual([await finish(failed, 1), await finish(removed, 1)], [false, false])
    assert.deepEqual(
      (await list(100)).map(({ id, problem }) => [id, problem]),
      [[failed, 'the node went away']],
    )
  })

  it('belong to one account', { timeout }, async (t) => {
    const { store, begin, list } = await setup(t)
    const id = await begin(1)
    const other = await testTenant(store, 0n)
    assert.equal(await store.expireSnapshot(other, id, 5), null)
    assert.equal((await list(100)).length, 1)
  })

  it('of a closed lease go a day later, at whichever gateway that is', { timeout }, async (t) => {
    const { store, stored, begin, finish, due } = await setup(t)
    const id = await begin(1)
    await finish(id, 1)
    assert.deepEqual(await due(1_000), [])
    const [lease] = stored.leases
    assert.ok(lease)
    await store.changeLease(lease.id, lease.revision, { ...lease, state: 'closed' }, [])
    assert.deepEqual(await due(2_000), [])
    assert.deepEqual(await due(1_999 + DAY), [], 'the day counts from the first look')
    assert.deepEqual(await due(2_000 + DAY, 'elsewhere'), [])
    assert.deepEqual(await due(2_000 + DAY), [id])
    await store.dropSnapshot(id)
    assert.deepEqual(await due(2_000 + DAY), [])
  })

  it('that were never finished go, too', { timeout }, async (t) => {
    const { store, begin, due } = await setup(t)
    const [dead, failed, fresh] = [await begin(1_000), await begin(1_000), await begin(5_000)]
    await store.failSnapshot(failed, 'why')
    assert.deepEqual(new Set(await due(5_000)), new Set([dead, failed]))
    assert.ok(fresh)
  })
})

async function setup(t: TestContext) {
  const store = await testStore(t)
  const account = await testTenant(store, 0n)
  const stored = aDeployment(account)
  await store.createDeployment(stored, 'gw_a', 10_000, [])
  const [lease] = stored.leases
  assert.ok(lease)
  const deployment = stored.deployment.id
  return {
    store,
    account,
    stored,
    begin: async (at: number, more: { volume?: string; replica?: number; place?: string } = {}) => {
      const id = randomId('snap')
      const of = {
        account,
        deployment,
        lease: lease.id,
        service: 'web',
        replica: 0,
        volume: 'data',
      }
      await store.beginSnapshot({
        id,
        ...of,
        place: 'here',
        object: `o/${id}`,
        begunAt: at,
        ...more,
      })
      return id
    },
    finish: (id: string, bytes: number, more: { keep?: number; limitBytes?: number } = {}) =>
      store.finishSnapshot(id, {
        bytes,
        sha256: SHA,
        at: 100,
        keep: 9,
        limitBytes: 1_000,
        ...more,
      }),
    list: (now = 0) => store.snapshotsOf({ deployment }, now),
    due: async (now: number, place = 'here') => {
      const times = { now, unfinishedBefore: now - 1_000, closedUntil: now + DAY }
      return (await store.dueSnapshots(place, times)).map(({ id }) => id)
    },
  }
}
