import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { SEALED_PASSWORD, type SecretValues } from '../../../core/protocol/secrets.ts'
import { ephemeralSealingKey } from '../../../io/keys/sealed-box.ts'
import {
  openSecrets,
  sealedDeploymentId,
  sealSecrets,
  signSealingKey,
} from '../../../io/keys/secret-envelope.ts'
import { tenantLedger } from '../../../io/store/store.ts'
import type { FakeLeasingNode } from './fake-leasing-node.ts'
import { sdl, setupBook, view, wish } from './lease-book-kit.ts'
import type { Screening } from './lease-service.ts'

const timeout = 30_000
const NONCE = 'n'.repeat(22)
const NO_KEY = /no key for your secrets/

describe('sealed secrets', { timeout }, () => {
  it('reach the node that runs them, each node only its own part', async (t) => {
    const net = await setup(t)
    const [node, other] = [net.node(), net.node({ cpuPrice: '0.02' })]
    const id = await net.deploySealed('hunter22')
    const lease = await net.until(id, 'running')
    assert.deepEqual([lease.node, lease.secrets], [node.node, ['web.TOKEN']])
    const [run] = net.runs(node)
    assert.equal(net.opened(node, id), 'hunter22')
    assert.deepEqual(run?.manifest.services[0]?.env, [])
    const text = JSON.stringify(node.told)
    assert.ok(!text.includes('hunter22') && !text.includes(other.node))
    assert.equal(id, sealedDeploymentId(net.account, NONCE))
  })

  it('keep nodes without a key from bidding, and say so with numbers', async (t) => {
    const net = await setup(t)
    net.node({ sealing: false, cpuPrice: '0.001' })
    net.node({ sealing: false, cpuPrice: '0.002' })
    const able = net.node()
    const screened = told(await net.service.screen(net.account, sdl(), true))
    assert.deepEqual(screened.bids, [able.node])
    assert.deepEqual(screened.reasons, ['2 of 3 nodes: no key for your secrets'])
    const open = told(await net.service.screen(net.account, sdl(), false))
    assert.deepEqual([open.bids.length, open.reasons], [3, []])
    const id = await net.deploySealed('x')
    assert.equal((await net.until(id, 'running')).node, able.node)
    const bids = told(await net.service.bids(net.account, id))
    assert.deepEqual(bids.reasons, screened.reasons)
  })

  it('go on to another node that can open them, and to no other', async (t) => {
    const net = await setup(t)
    const [first, second] = [net.node(), net.node({ cpuPrice: '0.02' })]
    const id = await net.deploySealed('x')
    await net.until(id, 'running')
    const late = net.node({ cpuPrice: '0.001' })
    net.lose(first)
    await net.untilTrue(async () => (await net.lease(id)).node === second.node)
    assert.equal(net.opened(second, id), 'x')
    assert.deepEqual(
      late.told.filter(({ kind }) => kind !== 'keep'),
      [],
    )
  })

  it('are known to a gateway that starts anew', async (t) => {
    const net = await setup(t)
    const [first, second] = [net.node(), net.node({ cpuPrice: '0.02' })]
    const id = await net.deploySealed('x')
    await net.until(id, 'running')
    await net.restart()
    net.link(first)
    net.link(second)
    await net.untilTrue(async () => net.runs(first).length > 1)
    assert.equal(net.opened(first, id), 'x')
    net.lose(first)
    await net.untilTrue(async () => (await net.lease(id)).node === second.node)
    assert.equal(net.opened(second, id), 'x')
  })

  it('strand an order when nobody is left who can, and go on when they are sealed anew', async (t) => {
    const net = await setup(t)
    const first = net.node()
    const id = await net.deploySealed('x')
    await net.until(id, 'running')
    const second = net.node()
    net.lose(first)
    await net.untilEvent(id, 'secrets.stranded')
    const events = await net.service.events(net.account, id, 0)
    assert.ok(!isRefusal(events))
    const stranded = events.filter(({ type }) => type === 'secrets.stranded')
    assert.equal(stranded.length, 1)
    assert.match(
      stranded[0]?.message ?? '',
      /^its secrets were sealed for 1 nodes, 0 of them are linked .* baseload update web-\w+ --secrets <file>$/,
    )
    const bids = told(await net.service.bids(net.account, id))
    assert.deepEqual([bids.bids, bids.reasons], [[], ['1 of 1 nodes: no key for your secrets']])
    view(await net.service.update(net.account, id, sdl(), [await net.sealed('y', id)]))
    const lease = await net.until(id, 'running')
    assert.equal(lease.node, second.node)
    assert.equal(net.opened(second, id), 'y')
  })

  it('are changed in place, stay where an update has none, and are dropped when it says so', async (t) => {
    const net = await setup(t)
    const node = net.node()
    const id = await net.deploySealed('x')
    const { epoch } = await net.until(id, 'running')
    view(await net.service.update(net.account, id, sdl(), [await net.sealed('y', id)]))
    assert.equal(net.opened(node, id), 'y')
    view(await net.service.update(net.account, id, sdl({ image: 'other' }), null))
    assert.equal(net.opened(node, id), 'y')
    assert.equal(net.runs(node).at(-1)?.epoch, epoch)
    view(await net.service.update(net.account, id, sdl(), []))
    assert.equal(net.runs(node).at(-1)?.secrets, null)
    assert.deepEqual((await net.lease(id)).secrets, [])
  })

  it('move a lease whose node they were not sealed for', async (t) => {
    const net = await setup(t)
    const node = net.node()
    const id = await net.deploySealed('x')
    await net.until(id, 'running')
    const other = net.node()
    const envelope = await net.sealed('y', id, other)
    view(await net.service.update(net.account, id, sdl(), [envelope]))
    const lease = await net.until(id, 'running')
    assert.deepEqual([lease.node, lease.epoch], [other.node, 2])
    assert.equal(net.opened(other, id), 'y')
    await net.untilTrue(async () => node.running.size === 0)
  })

  it('are not given to a node that has made itself another key', async (t) => {
    const net = await setup(t)
    const node = net.node()
    const envelope = await net.sealed('x')
    const sealing = signSealingKey(node.identity, ephemeralSealingKey())
    Object.assign(node.offer, { leases: { ...node.offer.leases, sealing } })
    const secrets = { nonce: NONCE, groups: [envelope] }
    const refusal = await net.service.deploy(net.account, 'key_none', { ...wish(), secrets })
    assert.ok(isRefusal(refusal) && refusal.code === 'no_matching_node')
    assert.match(refusal.message, NO_KEY)
  })

  it('name the node that has the lease first among those to seal for, whatever it has left', async (t) => {
    const net = await setup(t)
    const node = net.node({ cpuPrice: '0.02', capacity: { cpuMilli: 1_000 } })
    const id = await net.deploySealed('x')
    await net.until(id, 'running')
    const cheap = net.node()
    const keys = await net.service.sealingKeys(net.account, sdl({ cpu: '3' }), id)
    assert.ok(!isRefusal(keys))
    assert.deepEqual(
      keys.groups[0]?.nodes.map((one) => one.node),
      [node.node, cheap.node],
    )
    assert.deepEqual([keys.deployment, keys.tenant], [id, net.account])
    const fresh = await net.service.sealingKeys(net.account, sdl({ cpu: '3' }), null)
    assert.ok(!isRefusal(fresh))
    assert.deepEqual(
      fresh.groups[0]?.nodes.map((one) => one.node),
      [cheap.node],
    )
  })
})

describe('secrets that do not belong', { timeout }, () => {
  it('are refused in the clear, before anything is written down', async (t) => {
    const net = await setup(t)
    net.node()
    const clear = withLogin('hunter22')
    const answers = [
      await net.service.screen(net.account, clear, false),
      await net.service.sealingKeys(net.account, clear, null),
      await net.service.deploy(net.account, 'key_none', { ...wish(), sdl: clear }),
    ]
    for (const answer of answers) {
      assert.ok(isRefusal(answer) && answer.code === 'secret_in_clear')
      assert.match(answer.message, /'web' came in the clear.*'baseload deploy'/)
      assert.ok(!answer.message.includes('hunter22'))
    }
    const page = { limit: 9, closed: true }
    assert.deepEqual(await net.service.deployments(net.account, page), [])
    const { id } = await net.deploy()
    const changed = await net.service.update(net.account, id, clear, null)
    assert.ok(isRefusal(changed) && changed.code === 'secret_in_clear')
    assert.ok(!view(await net.service.deployment(net.account, id)).sdl.includes('hunter22'))
  })

  it('are refused for groups and services that the file does not have', async (t) => {
    const net = await setup(t)
    net.node()
    const envelope = await net.sealed('x')
    const cases: [groups: (typeof envelope)[], why: RegExp][] = [
      [[{ ...envelope, group: 'there' }], /the group 'there', which the file does not have/],
      [[envelope, envelope], /the group 'here', which the file has once/],
      [[{ ...envelope, names: ['db.TOKEN'] }], /'db\.TOKEN' is for a service that the group/],
    ]
    for (const [groups, why] of cases) {
      const refusal = await deployed(net, { ...wish(), secrets: { nonce: NONCE, groups } })
      assert.equal(refusal.code, 'secrets_invalid')
      assert.match(refusal.message, why)
    }
  })

  it('are missed where a password was taken out and did not come sealed', async (t) => {
    const net = await setup(t)
    net.node()
    const file = withLogin(SEALED_PASSWORD)
    const groups = [await net.sealed('x')]
    for (const secrets of [null, { nonce: NONCE, groups }]) {
      const refusal = await deployed(net, { ...wish(), sdl: file, secrets })
      assert.equal(refusal.code, 'secrets_invalid')
      assert.match(refusal.message, /password of 'web' was taken out/)
    }
  })

  it('cannot be sent a second time under one nonce', async (t) => {
    const net = await setup(t)
    net.node()
    await net.deploySealed('x')
    const { heldNanoUsd } = await net.balance()
    const secrets = { nonce: NONCE, groups: [await net.sealed('x')] }
    assert.equal((await deployed(net, { ...wish(), secrets })).code, 'conflict')
    assert.equal((await net.balance()).heldNanoUsd, heldNanoUsd, 'nothing more is set aside')
  })

  it('are sealed for nodes that price by a program, too, and no other program is asked', async (t) => {
    const net = await setup(t)
    const program = net.node({ program: { rate: '1000000000' } })
    const keyless = net.node({ program: { rate: '1' }, sealing: false })
    const id = await net.deploySealed('x')
    assert.equal((await net.until(id, 'running')).node, program.node)
    assert.equal(net.opened(program, id), 'x')
    assert.ok(!keyless.told.some(({ kind }) => kind === 'bid'))
  })

  it('come once with an idempotency key, which is not kept when their nonce was used', async (t) => {
    const net = await setup(t)
    net.node()
    const used = { nonce: NONCE, groups: [await net.sealed('x')] }
    const first = { ...wish(), secrets: used, idempotencyKey: 'key-1' }
    const made = view(await net.service.deploy(net.account, 'key_none', first))
    const again = view(await net.service.deploy(net.account, 'key_none', first))
    assert.equal(again.id, made.id)
    const other = { ...first, secrets: { nonce: NONCE, groups: [await net.sealed('y')] } }
    assert.equal((await deployed(net, other)).code, 'idempotency_conflict')
    const late = { ...other, idempotencyKey: 'key-2' }
    const refusal = await deployed(net, late)
    assert.deepEqual([refusal.code, refusal.param], ['conflict', 'secrets'])
    assert.equal((await deployed(net, late)).code, 'conflict', 'the key made nothing')
    view(await net.service.deploy(net.account, 'key_none', { ...late, secrets: null }))
  })
})

type Net = Awaited<ReturnType<typeof setup>>

async function deployed(net: Net, what: Parameters<Net['service']['deploy']>[2]): Promise<Refusal> {
  const answer = await net.service.deploy(net.account, 'key_none', what)
  return isRefusal(answer) ? answer : assert.fail('it was taken')
}

function told(answer: Screening | Refusal) {
  if (isRefusal(answer)) throw new Error(answer.message)
  const [group] = answer.groups
  return { bids: (group?.bids ?? []).map(({ node }) => node), reasons: group?.reasons ?? [] }
}

const withLogin = (password: string): string =>
  sdl().replace(
    'image: hello',
    `image: me/app\n    credentials: { host: docker.io, username: me, password: ${password} }`,
  )

const valuesOf = (value: string): SecretValues => ({
  v: 1,
  env: [{ service: 'web', name: 'TOKEN', value }],
  registry: [],
})

async function setup(t: TestContext) {
  const net = await setupBook(t)
  /** As a tenant does it: for a new deployment, or one that there is; for all nodes, or one. */
  const sealed = async (value: string, id: string | null = null, only?: FakeLeasingNode) => {
    const keys = await net.service.sealingKeys(net.account, sdl(), id)
    assert.ok(!isRefusal(keys))
    const [group] = keys.groups
    assert.ok(group)
    const deployment = id ?? sealedDeploymentId(keys.tenant, NONCE)
    const nodes = group.nodes.filter(({ node }) => only === undefined || node === only.node)
    return sealSecrets(
      valuesOf(value),
      { tenant: keys.tenant, deployment, group: group.group },
      nodes.map(({ node, key }) => ({ node, sealingKey: key })),
    )
  }
  return Object.assign(net, {
    sealed,
    balance: () => net.store.balance(tenantLedger(net.account)),
    deploySealed: async (value: string) => {
      const secrets = { nonce: NONCE, groups: [await sealed(value)] }
      const answer = await net.service.deploy(net.account, 'key_none', { ...wish(), secrets })
      return view(answer).id
    },
    /** The value that a node finds in what it was last told to run. */
    opened: (node: FakeLeasingNode, deployment: string) => {
      const secrets = net.runs(node).at(-1)?.secrets
      assert.ok(secrets)
      const scope = { tenant: net.account, deployment, group: 'here' }
      const opener = { node: node.node, key: node.sealingKey }
      return openSecrets(secrets, scope, opener).env[0]?.value
    },
  })
}
