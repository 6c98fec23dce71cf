import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { randomInt } from 'node:crypto'
import { aDeployment, HOUR_RATE } from './deployment-samples.ts'
import { testStore, testTenant } from './testing.ts'
import { nodeLedger, tenantLedger, UNCOLLECTED } from './store.ts'

const timeout = 30_000

describe('deployments', () => {
  it('keeps a deployment, its leases and its events', { timeout }, async (t) => {
    const { store, stored, account } = await setup(t)
    const found = await store.findDeployment(account, stored.deployment.name)
    assert.deepEqual(found?.leases[0]?.doc, stored.leases[0]?.doc)
    assert.deepEqual(found?.deployment, stored.deployment)
    assert.equal(await store.findDeployment('acct_other', stored.deployment.id), null)
    const events = await store.deploymentEvents(stored.deployment.id, 0, 10)
    assert.deepEqual(
      events.map(({ seq, type }) => [seq, type]),
      [[1, 'deployment.ordered']],
    )
    await store.changeDeployment(stored.deployment.id, { closedAt: 5, closeReason: 'tenant' }, [])
    assert.equal((await store.deploymentsOf(account, { limit: 9, closed: false })).length, 0)
    assert.equal((await store.deploymentsOf(account, { limit: 9, closed: true })).length, 1)
  })

  it('changes a lease for one of two that read the same revision', { timeout }, async (t) => {
    const { store, lease } = await setup(t)
    const change = { ...lease, state: 'starting' as const, epoch: 2, billedUntil: 77 }
    const both = await Promise.all([1, 2].map(() => store.changeLease(lease.id, 1, change, [])))
    assert.equal(both.filter((changed) => changed !== null).length, 1)
    assert.equal(both.find((changed) => changed !== null)?.billedUntil, 77)
  })

  it(
    'gives each open deployment to one gateway, until that one is silent',
    { timeout },
    async (t) => {
      const { store, stored } = await setup(t)
      const claim = async (gateway: string, now: number) =>
        (await store.claimDeployments(gateway, now, now + 15_000)).map(
          ({ deployment }) => deployment.id,
        )
      assert.deepEqual(await claim('gw_b', 1_000), [])
      assert.deepEqual(await claim('gw_a', 5_000), [stored.deployment.id])
      assert.deepEqual(await claim('gw_b', 25_000), [stored.deployment.id])
      assert.deepEqual(await claim('gw_a', 26_000), [])
    },
  )

  it('numbers events of one deployment in order, whoever writes them', { timeout }, async (t) => {
    const { store, stored } = await setup(t)
    const { id } = stored.deployment
    const event = { at: 1, type: 'x.happened', lease: null, service: null, message: '' }
    await Promise.all(
      Array.from({ length: 20 }, () => store.addDeploymentEvents(id, [event, event])),
    )
    const events = await store.deploymentEvents(id, 0, 100)
    assert.deepEqual(
      events.map(({ seq }) => seq),
      Array.from({ length: 41 }, (_, i) => i + 1),
    )
  })
})

describe('paying for leased time', () => {
  it('pays once, from the hold, and fills the hold again', { timeout }, async (t) => {
    const { store, lease, account, pay } = await setup(t)
    const [first] = await pay(0, 10_000, 4_000n)
    assert.deepEqual(first, { paid: true, uncollectedNanoUsd: 0n, heldNanoUsd: 5_000n })
    assert.equal((await pay(0, 10_000, 4_000n))[0]?.paid, false)
    assert.equal((await pay(10_000, 20_000, 1n, { epoch: lease.epoch + 1 }))[0]?.paid, false)
    const { balanceNanoUsd, heldNanoUsd } = await store.balance(tenantLedger(account))
    assert.deepEqual([balanceNanoUsd, heldNanoUsd], [6_000n, 5_000n])
    assert.equal((await store.balance(nodeLedger('node_x'))).balanceNanoUsd, 4_000n)
  })

  it('pays the node in full when the tenant cannot', { timeout }, async (t) => {
    const { store, account, pay } = await setup(t)
    const [paid] = await pay(0, 10_000, 10_500n)
    assert.deepEqual(paid, { paid: true, uncollectedNanoUsd: 500n, heldNanoUsd: 0n })
    assert.equal((await store.balance(tenantLedger(account))).balanceNanoUsd, 0n)
    assert.equal((await store.balance(UNCOLLECTED)).balanceNanoUsd, -500n)
    assert.equal((await store.balance(nodeLedger('node_x'))).balanceNanoUsd, 10_500n)
    assert.deepEqual((await store.audit()).wrong, [])
  })

  it('loses and invents nothing, however it is cut', { timeout }, async (t) => {
    const { store, pay } = await setup(t)
    let at = 0
    let due = 0n
    for (let i = 0; i < 40; i++) {
      const next = at + randomInt(1, 5_000)
      const nanoUsd = BigInt(randomInt(0, 600))
      // Asked for twice at the same time, as by two gateways.
      const both = await Promise.all([pay(at, next, nanoUsd), pay(at, next, nanoUsd)])
      assert.equal(both.flat().filter(({ paid }) => paid).length, 1)
      at = next
      due += nanoUsd
    }
    assert.equal((await store.balance(nodeLedger('node_x'))).balanceNanoUsd, due)
    const { sumNanoUsd, wrong } = await store.audit()
    assert.deepEqual([sumNanoUsd, wrong], [0n, []])
  })
})

describe('a deployment that is made', () => {
  it('is made once, however often it is told, and never over another', async (t) => {
    const { store, stored, account } = await setup(t)
    assert.equal(await store.createDeployment(stored, 'gw_a', 16_000, []), true, 'the same again')
    const [lease] = aDeployment(account).leases
    assert.ok(lease)
    const { id } = stored.deployment
    const other = { ...stored, leases: [{ ...lease, deployment: id }] }
    assert.equal(await store.createDeployment(other, 'gw_a', 16_000, []), false)
    const found = await store.findDeployment(account, id)
    assert.deepEqual(found?.leases, stored.leases)
  })
})

/** A tenant with 10,000 nano-dollars, of which 5,000 are held for a lease that runs at `node_x`. */
async function setup(t: TestContext) {
  const store = await testStore(t)
  const account = await testTenant(store, 10_000n)
  const stored = aDeployment(account)
  const [lease] = stored.leases
  if (!lease) throw new Error('a deployment without a lease')
  const hold = {
    id: lease.hold ?? '',
    account,
    nanoUsd: 5_000n,
    gateway: 'leases',
    expiresAt: 2 ** 45,
  }
  assert.equal(await store.openHold(hold), null)
  const event = { at: 1, type: 'deployment.ordered', lease: null, service: null, message: '' }
  await store.createDeployment(stored, 'gw_a', 16_000, [event])
  const pay = (from: number, until: number, nanoUsd: bigint, more: { epoch?: number } = {}) =>
    store.payLeases([
      {
        lease: lease.id,
        epoch: lease.epoch,
        node: 'node_x',
        from,
        until,
        nanoUsd,
        carryBefore: 0n,
        carry: 0n,
        holdTargetNanoUsd: 5_000n,
        ...more,
      },
    ])
  assert.equal(lease.doc.rate, HOUR_RATE)
  return { store, stored, lease, account, pay }
}
