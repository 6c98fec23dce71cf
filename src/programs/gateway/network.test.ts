/** Links come and go: what the router, the operator and the store see of them. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Tier } from '../../core/protocol/tier.ts'
import { ReplicaTable } from '../../core/routing/replica-table.ts'
import { nodeId } from '../../core/routing/test-replicas.ts'
import type { NodeRecord } from '../../io/store/store.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { createNetwork } from './network.ts'
import { aClock, FakeLink, turn } from './test-kit.ts'

describe('network', () => {
  it('makes replicas of an offer, and tells those who wait', (t) => {
    const { network, table, link, looks } = setup(t)
    network.events.linked(link)
    const [replica] = table.ofLink(link.link)
    assert.deepEqual([replica?.model, looks()], ['bard-3m', 1])
    assert.equal(replica && network.linkOf(replica), link)
    assert.equal(network.linkOfNode(link.node), link)
  })

  it('takes the load of others from heartbeats', (t) => {
    const { network, table, link } = setup(t)
    network.events.linked(link)
    link.heartbeat = { free: [1], queued: [0] }
    network.events.heartbeat(link)
    assert.equal(table.ofLink(link.link)[0]?.othersBusy, 3)
    assert.equal(network.nodes()[0]?.replicas[0]?.free, 1)
  })

  it('chooses no node that drains, and remembers no loss of one that said goodbye', (t) => {
    const { network, table, link } = setup(t)
    network.events.linked(link)
    network.events.draining(link)
    assert.equal(table.ofLink(link.link)[0]?.draining, true)
    link.draining = true
    network.events.unlinked(link, 'bye')
    const again = aLink('link_2')
    network.events.linked(again)
    assert.equal(table.ofLink('link_2')[0]?.cooldown, null)
  })

  it('rests a node that broke off when it comes back', (t) => {
    const { network, table, link } = setup(t)
    network.events.linked(link)
    network.events.unlinked(link, 'timed out')
    const again = aLink('link_2')
    network.events.linked(again)
    assert.match(table.ofLink('link_2')[0]?.cooldown?.reason ?? '', /timed out/)
  })

  it('keeps the new link of a node whose old one ends later', (t) => {
    const { network, table, link } = setup(t)
    const newer = aLink('link_2')
    network.events.linked(link)
    network.events.linked(newer)
    network.events.unlinked(link, 'replaced')
    assert.equal(network.linkOfNode(link.node), newer)
    assert.deepEqual(
      network.nodes().map((node) => node.link),
      [newer],
    )
    assert.deepEqual([table.ofLink(link.link).length, table.ofLink('link_2').length], [0, 1])
  })

  it('gives replicas the tier that the store knows, and changes it at once when told', async (t) => {
    const { network, table, link, store } = setup(t)
    store.tier = 'vetted'
    network.events.linked(link)
    assert.equal(table.ofLink(link.link)[0]?.tier, 'community')
    await turn()
    assert.equal(table.ofLink(link.link)[0]?.tier, 'vetted')
    network.changed({ ...record(link.node), tier: 'reserve' })
    assert.equal(table.ofLink(link.link)[0]?.tier, 'reserve')
  })

  it('tells the store once a minute that a node is there, and how long it was', async (t) => {
    const { network, link, store, clock } = setup(t)
    network.events.linked(link)
    await turn()
    clock.pass(61_000)
    await turn()
    network.events.unlinked(link, 'bye')
    await turn()
    assert.equal(store.noted.length, 3)
    assert.equal(sum(store.noted), 61)
  })

  it('asks one thing at a time, and loses no second while the store is away', async (t) => {
    const { network, link, store, clock } = setup(t)
    store.down = true
    network.events.linked(link)
    await turn()
    clock.pass(30_000)
    await turn()
    store.down = false
    clock.pass(31_000)
    await turn()
    network.events.unlinked(link, 'bye')
    await turn()
    assert.equal(sum(store.noted), 61)
  })
})

const sum = (seconds: readonly number[]): number => seconds.reduce((all, one) => all + one, 0)

const aLink = (link: string): FakeLink =>
  new FakeLink({
    node: nodeId('a'),
    link,
    models: [
      {
        model: 'bard-3m',
        digest: 'name:bard',
        engine: 'test/1',
        quantization: null,
        contextTokens: 100,
        slots: 4,
        capabilities: ['chat'],
        inputNanoUsdPerMTok: '1',
        outputNanoUsdPerMTok: '1',
      },
    ],
  })

const record = (node: string): NodeRecord => ({
  node,
  nodeKey: '',
  tier: 'community',
  firstSeenAt: 0,
  lastSeenAt: 0,
  linkedSeconds: 0,
})

function setup(t: TestContext) {
  const clock = aClock(t)
  const table = new ReplicaTable()
  const link = Object.assign(aLink('link_1'), { linkedAt: clock.now() })
  const store = { down: false, tier: 'community' as Tier, noted: [] as number[] }
  let looks = 0
  const network = createNetwork({
    table,
    store: {
      nodeSeen: async (node, _key, _now, linkedSeconds) => {
        if (store.down) throw new Error('away')
        store.noted.push(linkedSeconds)
        return { ...record(node), tier: store.tier }
      },
    },
    now: clock.now,
    logger: silentLogger,
    look: () => (looks += 1),
    receipts: () => {},
    leases: {
      linked: ignore,
      offerChanged: ignore,
      heartbeat: ignore,
      unlinked: ignore,
      report: ignore,
    },
  })
  t.after(() => network.close())
  return { network, table, link, store, clock, looks: () => looks }
}

const ignore = (): void => {}
