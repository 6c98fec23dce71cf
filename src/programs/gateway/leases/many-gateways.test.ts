/** Several gateways over one store: any serves any request, and one that dies is replaced. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../../core/base/refusal.ts'
import { FakeLeasingNode } from './fake-leasing-node.ts'
import { CLAIM_MS } from './lease-book.ts'
import { sdl, setupBook as setup, view, wish } from './lease-book-kit.ts'

const timeout = 30_000

describe('a gateway that does not look after a deployment', () => {
  it('shows it, changes it and closes it all the same', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const other = net.another()
    const seen = view(await other.service.deployment(net.account, made.id))
    assert.equal(seen.leases[0]?.state, 'running')
    const updated = view(
      await other.service.update(net.account, made.id, sdl({ image: 'newer' }), null),
    )
    assert.equal(updated.leases[0]?.services[0]?.image, 'newer')
    assert.equal(net.runs(node).at(-1)?.manifest.services[0]?.image, 'newer')
    const closed = view(await other.service.close(net.account, made.id))
    assert.equal(closed.leases[0]?.state, 'closed')
    assert.equal(node.running.size, 0)
  })

  it('hands on what the other refuses, with its code and its words', { timeout }, async (t) => {
    const net = await setup(t)
    net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const other = net.another()
    const refusal = await other.service.update(net.account, made.id, sdl({ cpu: '64' }), null)
    assert.ok(isRefusal(refusal) && refusal.code === 'no_matching_node', JSON.stringify(refusal))
    const broken = await other.service.update(net.account, made.id, 'services: 7', null)
    assert.ok(isRefusal(broken) && broken.code === 'invalid_sdl' && broken.param === 'sdl')
  })

  it('takes the bid that the tenant names there', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = view(
      await net.service.deploy(net.account, 'key_none', { ...wish(), rule: 'manual' }),
    )
    const lease = made.leases[0]?.id ?? ''
    view(await net.another().service.accept(net.account, made.id, lease, node.node))
    assert.equal((await net.until(made.id, 'running')).node, node.node)
  })

  it(
    'says so when the other is silent, and has it done by who takes over',
    { timeout },
    async (t) => {
      const net = await setup(t)
      net.node()
      const made = await net.deploy()
      await net.until(made.id, 'running')
      const other = net.another()
      await net.first.close()
      const refusal = await other.service.close(net.account, made.id)
      assert.ok(isRefusal(refusal) && refusal.code === 'gateway_silent', JSON.stringify(refusal))
      net.pass(CLAIM_MS + 1)
      const closing = other.service.close(net.account, made.id)
      await other.book.claim()
      assert.equal(view(await closing).leases[0]?.state, 'closed')
    },
  )

  it('has its names, as long as it is open', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    const lease = await net.until(made.id, 'running')
    const host = new URL(lease.services[0]?.urls[0] ?? '').hostname
    const other = net.another()
    assert.equal(other.hosts.find(host), undefined)
    await other.book.claim()
    const entry = other.hosts.find(host)
    assert.ok(entry?.state === 'running' && entry.target.link() === null)
    other.link(node)
    assert.equal(entry.target.link(), node)
    node.book = net.first.book
    await net.service.close(net.account, made.id)
    await other.book.claim()
    assert.equal(other.hosts.find(host), undefined)
  })

  it('follows what happens there', { timeout }, async (t) => {
    const net = await setup(t)
    net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const other = net.another()
    let rings = 0
    const unwatch = other.service.watch(made.id, () => (rings += 1))
    await net.untilTrue(() => Promise.resolve(rings > 0))
    unwatch()
  })

  it('says where to ask for a tunnel to a node that it has no link to', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const tunnel = { kind: 'tcp' as const, service: 'web', replica: 0, port: 80 }
    const { signal } = new AbortController()
    const refusal = await net.another().service.openTunnel(net.account, made.id, tunnel, signal)
    assert.ok(isRefusal(refusal) && refusal.code === 'lease_unreachable')
    assert.match(refusal.message, new RegExp(`${node.node} is not linked to this gateway`))
  })
})

describe('a gateway that dies', () => {
  it(
    'is replaced after 15 s: its leases run on under another, and are billed once',
    { timeout },
    async (t) => {
      const net = await setup(t)
      const node = net.node()
      const made = await net.deploy()
      const before = await net.until(made.id, 'running')
      const other = net.another()
      await other.book.claim()
      assert.equal(other.book.active.size, 0)
      await net.first.close()
      net.pass(CLAIM_MS + 1)
      other.link(node)
      await other.book.claim()
      assert.equal(other.book.active.size, 1)
      assert.deepEqual(net.runs(node).at(-1)?.epoch, before.epoch, 'it is told what runs there')
      net.pass(60_000 - CLAIM_MS - 1)
      node.beat()
      await other.book.bill()
      const [after] = view(await other.service.deployment(net.account, made.id)).leases
      assert.deepEqual(
        [after?.state, after?.epoch, after?.spentNanoUsd],
        ['running', before.epoch, 83_333n],
      )
    },
  )

  it('and wakes again, finds what it lost, and leaves it alone', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const other = net.another()
    net.pass(CLAIM_MS + 1)
    await other.book.claim()
    const second = new FakeLeasingNode(net.now)
    other.link(second)
    await net.first.book.claim()
    assert.equal(net.first.book.active.size, 0)
    // What it reads is what the other writes.
    view(await other.service.update(net.account, made.id, sdl({ image: 'newer' }), null))
    const seen = view(await net.service.deployment(net.account, made.id))
    assert.equal(seen.leases[0]?.services[0]?.image, 'newer')
    view(await net.service.close(net.account, made.id))
    assert.equal(other.book.active.size, 0)
    assert.ok(node.told.length > 0)
  })

  it('and wakes again after its lease has moved: the old copy stops', { timeout }, async (t) => {
    const net = await setup(t)
    const node = net.node()
    const made = await net.deploy()
    const lease = await net.until(made.id, 'running')
    const other = net.another()
    const second = new FakeLeasingNode(net.now)
    other.link(second)
    net.pass(CLAIM_MS + 1)
    await other.book.claim()
    net.pass(31_000)
    await net.untilTrue(() => Promise.resolve(second.running.size === 1))
    await net.first.book.claim()
    assert.equal(node.running.get(lease.id), lease.epoch, 'it has not heard of it')
    const { id, epoch } = lease
    node.say({ kind: 'status', lease: id, epoch, phase: 'running', message: '', replicas: [] })
    await net.untilTrue(() => Promise.resolve(node.running.size === 0))
    assert.ok((second.running.get(id) ?? 0) > epoch)
  })

  it(
    'without having closed a deployment whose leases are closed: the next one does',
    { timeout },
    async (t) => {
      const net = await setup(t)
      net.node()
      const made = await net.deploy()
      await net.until(made.id, 'running')
      const real = { ...net.store }
      net.store.changeDeployment = () => Promise.reject(new Error('it dies just here'))
      await net.service.close(net.account, made.id)
      Object.assign(net.store, real)
      await net.restart()
      await net.untilTrue(
        async () => view(await net.service.deployment(net.account, made.id)).closedAt !== null,
      )
    },
  )
})

describe('a node', () => {
  it('is shown who vouched for its gateways', { timeout }, async (t) => {
    const net = await setup(t)
    const other = net.another()
    await net.first.book.claim()
    await other.book.claim()
    await net.first.book.claim()
    await other.book.claim()
    const node = new FakeLeasingNode(net.now)
    const { leases } = node.offer
    Object.assign(node.offer, { leases: null })
    other.link(node)
    const proofs = () =>
      node.told.flatMap((command) => (command.kind === 'kin' ? command.proofs : []))
    assert.deepEqual(proofs(), [], 'it has no leases yet')
    Object.assign(node.offer, { leases })
    other.book.offerChanged(node)
    assert.equal(proofs()[0]?.gateway, net.first.id)
  })

  it('whose provider leaves keeps its lease until another has it', { timeout }, async (t) => {
    const net = await setup(t)
    const leaving = net.node({ cpuPrice: '0.005', capacity: { noticeS: 3600 } })
    const made = await net.deploy()
    const { id: lease, epoch } = await net.until(made.id, 'running')
    leaving.answer = 'refuse'
    leaving.say({ kind: 'leaving', lease, epoch, reason: 'the machine is needed' })
    await net.until(made.id, 'draining')
    assert.equal(leaving.running.get(lease), epoch)
    const next = net.node()
    assert.equal((await net.until(made.id, 'running')).node, next.node)
    await net.untilTrue(() => Promise.resolve(leaving.running.size === 0))
  })
})
