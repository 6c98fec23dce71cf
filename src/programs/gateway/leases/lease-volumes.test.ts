import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { DAY, MINUTE } from '../../../core/base/time.ts'
import { Fault, isRefusal } from '../../../core/base/refusal.ts'
import type { ObjectStore } from '../../../io/objects/object-store.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'
import { testTenant } from '../../../io/store/testing.ts'
import type { FakeLeasingNode } from './fake-leasing-node.ts'
import { sdl, setupBook } from './lease-book-kit.ts'

const timeout = 30_000
const ANY = { lease: null, service: null, replica: null, volume: null }

describe('a volume whose node is lost', () => {
  it('comes back from the one before when the newest was changed', { timeout }, async (t) => {
    const { made, snapshotOf, moved, damage, net } = await setup(t)
    await snapshotOf('older, and whole')
    await snapshotOf('newer, and changed')
    damage('newer', (path) => writeFileSync(path, 'newer, and Changed'))
    assert.equal((await moved()).volume, 'older, and whole')
    await net.untilEvent(made.id, 'volumes.restored')
    assert.match(await told('snapshot.corrupt'), /data of web\/0 from 20.*refused: .*digest/)
    const states = (await net.snapshots(made.id)).map(({ state }) => state)
    assert.deepEqual(states, ['failed', 'ready'])

    async function told(type: string) {
      const events = await net.service.events(net.account, made.id, 0)
      assert.ok(!isRefusal(events))
      return events.find((event) => event.type === type)?.message ?? 'nothing'
    }
  })

  it(
    'comes back from the one before when the newest is cut short, or gone',
    { timeout },
    async (t) => {
      const { snapshotOf, moved, damage } = await setup(t)
      await snapshotOf('the oldest')
      await snapshotOf('cut short')
      await snapshotOf('gone')
      damage('cut', (path) => truncateSync(path, 4))
      damage('gone', (path) => rmSync(path))
      assert.equal((await moved()).volume, 'the oldest')
    },
  )

  it('starts empty when none is whole, and says so', { timeout }, async (t) => {
    const { made, snapshotOf, moved, damage, net } = await setup(t)
    await snapshotOf('all there was')
    damage('all', (path) => writeFileSync(path, 'all there was, and more'))
    assert.equal((await moved()).volume, '')
    await net.untilEvent(made.id, 'volumes.not_restored')
  })

  it('waits for its snapshots when their store is away', { timeout }, async (t) => {
    const { made, snapshotOf, net, node, store } = await setup(t)
    await snapshotOf('precious')
    store.away = true
    const other = net.node()
    net.lose(node)
    await net.untilEvent(made.id, 'volumes.unreachable')
    assert.equal(other.told.length, other.told.filter(({ kind }) => kind === 'keep').length)
    store.away = false
    const third = net.node()
    const lease = await net.until(made.id, 'running')
    assert.equal((lease.node === third.node ? third : other).volume, 'precious')
  })

  it('has nothing of a snapshot that broke off', { timeout }, async (t) => {
    const { made, snapshotOf, moved, node, net } = await setup(t)
    await snapshotOf('whole')
    node.handsOut = 'half'
    await snapshotOf('the second, and only half')
    await net.untilEvent(made.id, 'snapshot.failed')
    assert.equal(files(net.folder).length, 1)
    assert.equal((await moved()).volume, 'whole')
  })
})

describe('snapshots', () => {
  it('are the newest three of a volume', { timeout }, async (t) => {
    const { made, snapshotOf, net } = await setup(t)
    for (const words of ['one', 'two', 'three', 'four']) await snapshotOf(words)
    await net.sweep()
    const read = files(net.folder).map((path) => readFileSync(path, 'utf8'))
    assert.deepEqual(read.toSorted(), ['four', 'three', 'two'])
    assert.equal((await net.snapshots(made.id)).length, 3)
  })

  it(
    'are taken when a tenant asks, and read byte for byte by nobody else',
    { timeout },
    async (t) => {
      const { made, net, node, take, read } = await setup(t)
      node.volume = 'what the tenant wrote'
      const goOn = new EventEmitter()
      node.handsOut = once(goOn, 'now').then(() => {})
      const [begun] = await take()
      assert.equal(begun?.state, 'taking')
      const half = () => net.snapshots(made.id).then(([one]) => one?.bytes === 10)
      await net.untilTrue(half)
      assert.equal((await take())[0]?.id, begun.id, 'one at a time of a volume')
      const early = await net.service.openSnapshot(net.account, made.id, begun.id)
      assert.ok(isRefusal(early) && early.code === 'conflict')
      goOn.emit('now')
      const [ready] = await untilReady(net, made.id)
      assert.ok(ready)
      assert.equal(ready.bytes, node.volume.length)
      assert.equal(await read(ready.id), node.volume)
      const stranger = await testTenant(net.store, 0n)
      for (const answer of [
        await net.service.snapshots(stranger, made.id),
        await net.service.takeSnapshots(stranger, made.id, ANY),
        await net.service.openSnapshot(stranger, made.id, ready.id),
        await net.service.removeSnapshot(stranger, made.id, ready.id),
      ])
        assert.ok(isRefusal(answer) && answer.code === 'not_found')
    },
  )

  it('break off for a reader when they were changed', { timeout }, async (t) => {
    const { made, net, snapshotOf, damage } = await setup(t)
    await snapshotOf('as it was')
    damage('as', (path) => writeFileSync(path, 'as it wos'))
    const [newest] = await net.snapshots(made.id)
    const opened = await net.service.openSnapshot(net.account, made.id, newest?.id ?? '')
    assert.ok(!isRefusal(opened))
    await assert.rejects(buffer(opened.body), { code: 'snapshot_corrupt' })
    await net.untilTrue(async () => (await net.snapshots(made.id))[0]?.state === 'failed')
  })

  it('are refused where there is nothing to take, by name', { timeout }, async (t) => {
    const { made, net } = await setup(t)
    const asked = await net.service.takeSnapshots(net.account, made.id, { ...ANY, volume: 'dada' })
    assert.ok(isRefusal(asked) && asked.code === 'not_found')
    assert.match(asked.message, /There are: web data/)
    const plain = await net.deploy()
    const none = await net.service.takeSnapshots(net.account, plain.id, ANY)
    assert.ok(isRefusal(none) && none.code === 'conflict')
  })

  it('take no more than an account may have; others have their own', { timeout }, async (t) => {
    const { made, net, snapshotOf, take } = await setup(t, { limitBytes: 30 })
    await snapshotOf('x'.repeat(20))
    await snapshotOf('y'.repeat(11))
    await net.untilEvent(made.id, 'snapshot.failed')
    const [failed] = await net.snapshots(made.id)
    assert.match(failed?.problem ?? '', /would take more than/)
    const list = await net.service.snapshots(net.account, made.id)
    assert.ok(!isRefusal(list))
    assert.deepEqual([list.usedBytes, list.limitBytes], [20, 30])
    await snapshotOf('z'.repeat(10))
    const full = await net.service.takeSnapshots(net.account, made.id, ANY)
    assert.ok(isRefusal(full) && full.code === 'snapshot_limit_exceeded')
    const [, , oldest] = await net.snapshots(made.id)
    await net.service.removeSnapshot(net.account, made.id, oldest?.id ?? '')
    assert.equal((await take()).length, 1)
    await net.sweep()
    assert.ok(files(net.folder).every((path) => !readFileSync(path, 'utf8').startsWith('x')))
  })

  it('tell a trouble once, and again when it is another', { timeout }, async (t) => {
    const { made, net, node, snapshotOf } = await setup(t)
    node.handsOut = 'half'
    for (const words of ['a', 'b', 'c']) await snapshotOf(words)
    const events = await net.service.events(net.account, made.id, 0)
    assert.ok(!isRefusal(events))
    assert.equal(events.filter(({ type }) => type === 'snapshot.failed').length, 1)
  })
})

describe('snapshots of a lease that is closed', () => {
  it('stay for a day, over a restart, and then nothing is left', { timeout }, async (t) => {
    const { made, net, node, snapshotOf, read } = await setup(t)
    await snapshotOf('fetched later')
    await net.service.close(net.account, made.id)
    await net.sweep()
    await net.restart()
    net.link(node)
    net.pass(DAY - MINUTE)
    await net.sweep()
    const [kept] = await net.snapshots(made.id)
    assert.ok(kept && kept.expiresAt !== null)
    assert.equal(await read(kept.id), 'fetched later')
    net.pass(2 * MINUTE)
    assert.deepEqual(await net.snapshots(made.id), [], 'over is over, swept or not')
    await net.restart()
    await net.sweep()
    assert.deepEqual(files(net.folder), [])
  })

  it('have what was there at the end when the money was used up', { timeout }, async (t) => {
    const { made, net, node, read } = await setup(t, { credit: 2_750_000n })
    for (const type of ['money.low', 'money.out', 'money.over']) {
      node.volume = `at ${type}`
      net.pass(3_600_000)
      node.beat()
      await net.bill()
      await net.untilEvent(made.id, type)
    }
    await net.untilEvent(made.id, 'deployment.closed')
    const [last] = await net.snapshots(made.id)
    assert.equal(await read(last?.id ?? ''), 'at money.over')
  })

  it('go when their tenant says so, at once', { timeout }, async (t) => {
    const { made, net, snapshotOf } = await setup(t)
    await snapshotOf('secret')
    await net.service.close(net.account, made.id)
    const [kept] = await net.snapshots(made.id)
    await net.service.removeSnapshot(net.account, made.id, kept?.id ?? '')
    assert.deepEqual(await net.snapshots(made.id), [])
    await net.sweep()
    assert.deepEqual(files(net.folder), [])
  })
})

describe('a gateway that died while it took a snapshot', () => {
  it('finds what it left, an hour later', { timeout }, async (t) => {
    const { made, net, node } = await setup(t)
    const lease = await net.lease(made.id)
    const of = { account: net.account, deployment: made.id, lease: lease.id }
    const object = `${net.account}/snap_dead.tar`
    const place = { service: 'web', replica: 0, volume: 'data', place: 'here', object }
    await net.store.beginSnapshot({ id: 'snap_dead', ...of, ...place, begunAt: net.now() })
    await net.restart()
    net.link(node)
    await net.sweep()
    assert.equal((await net.snapshots(made.id)).length, 1)
    net.pass(61 * MINUTE)
    await net.sweep()
    assert.equal((await net.snapshots(made.id)).length, 0)
  })
})

type Net = Awaited<ReturnType<typeof setupBook>>

async function untilReady(net: Net, deployment: string): Promise<readonly SnapshotRecord[]> {
  await net.untilTrue(async () => (await net.snapshots(deployment))[0]?.state === 'ready')
  return await net.snapshots(deployment)
}

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))

/** A store that can be away. */
class Away implements ObjectStore {
  readonly #real: ObjectStore
  away = false

  constructor(real: ObjectStore) {
    this.#real = real
  }
  get #there(): ObjectStore {
    if (this.away) throw new Fault('objects_unavailable', 'bucket b is away', { retryable: true })
    return this.#real
  }
  get place() {
    return this.#real.place
  }
  check = async () => this.#there.check()
  put = async (...put: Parameters<ObjectStore['put']>) => this.#there.put(...put)
  get = async (name: string) => this.#there.get(name)
  list = async (name: string) => this.#there.list(name)
  remove = async (name: string) => this.#there.remove(name)
}

async function setup(t: TestContext, { credit = 1_000_000_000n, limitBytes = 2 ** 40 } = {}) {
  const stores: Away[] = []
  const wrap = (real: ObjectStore): ObjectStore => {
    const store = new Away(real)
    stores.push(store)
    return store
  }
  const net = await setupBook(t, credit, { limitBytes, wrap })
  const [store] = stores
  assert.ok(store)
  const node = net.node({ cpuPrice: '0.005' })
  const made = await net.deploy(sdl({ volume: true }))
  await net.until(made.id, 'running')
  return {
    net,
    made,
    node,
    store,
    /** One more snapshot, at its time. */
    snapshotOf: async (words: string) => {
      node.volume = words
      net.pass(11 * MINUTE)
      node.beat()
      await net.snapshot()
    },
    /** Its node vanishes, and another has it: that one. */
    moved: async (): Promise<FakeLeasingNode> => {
      const other = net.node()
      net.lose(node)
      await net.untilTrue(async () => (await net.lease(made.id)).node === other.node)
      await net.until(made.id, 'running')
      return other
    },
    /** Does something to the object whose text begins so. */
    damage: (words: string, how: (path: string) => void) => {
      const path = files(net.folder).find((file) => readFileSync(file, 'utf8').startsWith(words))
      assert.ok(path, `no object '${words}'`)
      how(path)
    },
    take: async () => {
      const taken = await net.service.takeSnapshots(net.account, made.id, ANY)
      assert.ok(!isRefusal(taken), JSON.stringify(taken))
      return taken
    },
    read: async (snapshot: string): Promise<string> => {
      const opened = await net.service.openSnapshot(net.account, made.id, snapshot)
      assert.ok(!isRefusal(opened), JSON.stringify(opened))
      return await text(opened.body)
    },
  }
}
