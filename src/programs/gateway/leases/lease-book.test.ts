import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isRefusal } from '../../../core/base/refusal.ts'
import { nodeLedger, tenantLedger } from '../../../io/store/store.ts'
import { sdl, setupBook as setup, view, wish } from './lease-book-kit.ts'

const timeout = 30_000

describe('a deployment', () => {
  it(
    'runs at the cheapest node, under a name, and is billed while its node is heard',
    { timeout },
    async (t) => {
      const net = await setup(t)
      const [dear, cheap] = [net.node({ cpuPrice: '0.02' }), net.node({ cpuPrice: '0.01' })]
      const made = await net.deploy()
      const lease = await net.until(made.id, 'running')
      assert.deepEqual([lease.node, lease.epoch], [cheap.node, 1])
      assert.equal(
        dear.told.some(({ kind }) => kind === 'ask'),
        false,
      )
      const [url = ''] = lease.services[0]?.urls ?? []
      assert.equal(net.hosts.find(new URL(url).hostname)?.state, 'running')
      net.pass(3_600_000)
      cheap.lastHeardAt = net.now() - 1_800_000
      await net.bill()
      // Half a CPU at a cent an hour, until it was last heard; a rate is rounded down by less than 1e-18 $/s.
      assert.equal((await net.lease(made.id)).spentNanoUsd, 2_499_999n)
      assert.equal((await net.store.balance(nodeLedger(cheap.node))).balanceNanoUsd, 2_499_999n)
    },
  )

  it('is closed, billed to the end, and its money comes back', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    net.pass(60_000)
    node.beat()
    const closed = view(await net.service.close(net.account, made.id))
    assert.equal(closed.leases[0]?.state, 'closed')
    assert.equal(node.running.size, 0)
    const { heldNanoUsd, balanceNanoUsd } = await net.store.balance(tenantLedger(net.account))
    assert.deepEqual([heldNanoUsd, balanceNanoUsd], [0n, net.credit - 83_333n])
    await net.untilTrue(
      async () => view(await net.service.deployment(net.account, made.id)).closedAt !== null,
    )
  })

  it('goes to the next node when one refuses, and waits when all do', { timeout }, async (t) => {
    const net = await setup(t)
    const first = net.node({ cpuPrice: '0.005' })
    first.answer = 'refuse'
    const made = await net.deploy()
    await net.untilEvent(made.id, 'lease.waiting')
    const second = net.node()
    const lease = await net.until(made.id, 'running')
    assert.equal(lease.node, second.node)
    assert.ok(lease.epoch > 1, 'each node that is asked has an epoch of its own')
  })

  it(
    'is refused with reasons where nobody can run it, and nothing is held',
    { timeout },
    async (t) => {
      const net = await setup(t)
      const refusal = await net.service.deploy(net.account, 'key_none', wish())
      assert.ok(isRefusal(refusal) && refusal.code === 'no_matching_node', JSON.stringify(refusal))
      const broken = await net.service.deploy(net.account, 'key_none', {
        ...wish(),
        sdl: 'services: 7',
      })
      assert.ok(isRefusal(broken) && broken.code === 'invalid_sdl')
      assert.equal((await net.store.balance(tenantLedger(net.account))).heldNanoUsd, 0n)
    },
  )

  it('is refused when an hour of it is not there', { timeout }, async (t) => {
    const net = await setup(t, 1_000_000n)
    net.node()
    const refusal = await net.service.deploy(net.account, 'key_none', wish())
    assert.ok(isRefusal(refusal) && refusal.code === 'insufficient_balance')
    assert.equal((await net.store.balance(tenantLedger(net.account))).heldNanoUsd, 0n)
  })

  it(
    'ends on a node that cannot start it, and after three such nodes for good',
    { timeout },
    async (t) => {
      const net = await setup(t)
      for (const node of [net.node(), net.node(), net.node(), net.node()]) node.starts = false
      const made = await net.deploy()
      const lease = await net.until(made.id, 'closed')
      assert.match(lease.message, /3 nodes: the image does not exist/)
      assert.equal(lease.spentNanoUsd, 0n)
    },
  )

  it('takes the bid that the tenant names', { timeout }, async (t) => {
    const net = await setup(t)
    const [cheap, dear] = [net.node(), net.node({ cpuPrice: '0.03' })]
    const made = view(
      await net.service.deploy(net.account, 'key_none', { ...wish(), rule: 'manual' }),
    )
    const bids = await net.service.bids(net.account, made.id)
    assert.ok(!isRefusal(bids))
    assert.deepEqual(
      bids.groups[0]?.bids.map(({ node }) => node),
      [cheap.node, dear.node],
    )
    const lease = made.leases[0]?.id ?? ''
    assert.ok(!isRefusal(await net.service.accept(net.account, made.id, lease, dear.node)))
    assert.equal((await net.until(made.id, 'running')).node, dear.node)
  })

  it(
    'is updated in place, and moves when its node has no room for the new terms',
    { timeout },
    async (t) => {
      const net = await setup(t)
      const small = net.node({ capacity: { cpuMilli: 1_000 } })
      const made = await net.deploy()
      await net.until(made.id, 'running')
      view(await net.service.update(net.account, made.id, sdl({ image: 'other' }), null))
      assert.equal(net.runs(small).at(-1)?.manifest.services[0]?.image, 'other')
      const big = net.node()
      const grown = view(await net.service.update(net.account, made.id, sdl({ cpu: '3' }), null))
      assert.equal(grown.leases[0]?.node, big.node)
      await net.untilTrue(async () => small.running.size === 0)
      const refusal = await net.service.update(net.account, made.id, sdl({ cpu: '64' }), null)
      assert.ok(isRefusal(refusal) && refusal.code === 'no_matching_node')
      assert.equal((await net.until(made.id, 'running')).node, big.node)
    },
  )
})

describe('a node that vanishes', () => {
  it(
    'earns until it was last heard, and the lease goes on elsewhere under its name',
    { timeout },
    async (t) => {
      const net = await setup(t)
      const first = net.node({ cpuPrice: '0.005' })
      const made = await net.deploy()
      const before = await net.until(made.id, 'running')
      const second = net.node()
      net.pass(3_600_000)
      first.beat()
      net.pass(30_000)
      net.lose(first)
      await net.untilTrue(async () => (await net.lease(made.id)).node === second.node)
      const after = await net.until(made.id, 'running')
      assert.ok(after.epoch > before.epoch)
      assert.deepEqual(after.services[0]?.urls, before.services[0]?.urls)
      assert.equal((await net.store.balance(nodeLedger(first.node))).balanceNanoUsd, 2_499_999n)
      net.link(first)
      await net.untilTrue(async () => first.running.size === 0)
      first.say({
        kind: 'status',
        lease: after.id,
        epoch: before.epoch,
        phase: 'running',
        message: '',
        replicas: [],
      })
      assert.equal(first.told.at(-1)?.kind, 'stop')
      assert.equal((await net.lease(made.id)).node, second.node)
    },
  )

  it('leaves its volumes as they were at their last snapshot', { timeout }, async (t) => {
    const net = await setup(t)
    const first = net.node({ cpuPrice: '0.005' })
    const made = await net.deploy(sdl({ volume: true }))
    await net.until(made.id, 'running')
    first.volume = 'what the tenant wrote'
    net.pass(11 * 60_000)
    await net.snapshot()
    const second = net.node()
    net.lose(first)
    await net.untilTrue(async () => (await net.lease(made.id)).node === second.node)
    await net.until(made.id, 'running')
    assert.equal(second.volume, 'what the tenant wrote')
    await net.untilEvent(made.id, 'volumes.restored')
  })

  it('keeps the lease when it is back in a moment', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    const before = await net.until(made.id, 'running')
    net.lose(node, false)
    net.link(node)
    net.pass(20_000)
    await sleep(700)
    const { epoch, state } = await net.lease(made.id)
    assert.deepEqual([epoch, state], [before.epoch, 'running'])
  })

  it('is not believed to be one of many that vanish at once', { timeout }, async (t) => {
    const net = await setup(t)
    const nodes = [1, 2, 3, 4].map(() => net.node())
    const made = await net.deploy()
    const before = await net.until(made.id, 'running')
    for (const node of nodes) net.lose(node, false)
    net.pass(20_000)
    await sleep(1_200)
    assert.equal((await net.lease(made.id)).node, before.node)
    for (const node of nodes) net.link(node)
    assert.equal((await net.lease(made.id)).epoch, before.epoch)
  })
})

describe('the gateway', () => {
  it('goes on with its leases after a restart, and closes none', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    const before = await net.until(made.id, 'running')
    await net.restart()
    net.link(node)
    net.pass(60_000)
    node.beat()
    await net.bill()
    const after = await net.lease(made.id)
    assert.deepEqual([after.state, after.epoch, after.node], ['running', before.epoch, node.node])
    assert.equal(after.spentNanoUsd, 83_333n)
  })

  it('decides when the store is back what it could not write down', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const other = net.node()
    net.storeAway(true)
    net.lose(node)
    await sleep(1_200)
    assert.equal(
      other.told.some(({ kind }) => kind === 'run'),
      false,
    )
    net.storeAway(false)
    await net.untilTrue(async () => (await net.lease(made.id)).node === other.node)
  })

  it(
    'tells when money runs low, and ends what is not paid after a grace',
    { timeout },
    async (t) => {
      const net = await setup(t, 5_500_000n)
      const node = net.node()
      const made = await net.deploy()
      await net.until(made.id, 'running')
      const hour = async (): Promise<void> => {
        net.pass(3_600_000)
        node.beat()
        await net.bill()
      }
      await hour()
      await net.untilEvent(made.id, 'money.low')
      await hour()
      await net.untilEvent(made.id, 'money.out')
      await hour()
      const lease = await net.until(made.id, 'closed')
      assert.match(lease.message, /balance is used up/)
      assert.equal((await net.store.balance(tenantLedger(net.account))).balanceNanoUsd, 0n)
      const { sumNanoUsd, wrong } = await net.store.audit()
      assert.deepEqual([sumNanoUsd, wrong], [0n, []])
    },
  )
})
