/** A request to deploy that is sent again after a lost answer. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../../core/base/refusal.ts'
import { DEPLOYMENT_KEY_MS } from '../../../io/store/deployment-records.ts'
import { tenantLedger } from '../../../io/store/store.ts'
import { testTenant } from '../../../io/store/testing.ts'
import { setupBook as setup, view, wish } from './lease-book-kit.ts'

const once = { ...wish(), name: 'shop', idempotencyKey: 'key-1' }

describe('an idempotency key', { timeout: 30_000 }, () => {
  it('gives the same deployment again, and sets its money aside once', async (t) => {
    const net = await setup(t)
    net.node()
    const first = view(await net.service.deploy(net.account, 'key_none', once))
    const { heldNanoUsd } = await net.store.balance(tenantLedger(net.account))
    const again = view(await net.service.deploy(net.account, 'key_none', once))
    assert.equal(again.id, first.id)
    assert.equal((await net.store.balance(tenantLedger(net.account))).heldNanoUsd, heldNanoUsd)
    const all = await net.service.deployments(net.account, { limit: 10, closed: true })
    assert.equal(all.length, 1)
  })

  it('makes one of several requests at the same time, which all hear of it', async (t) => {
    const net = await setup(t)
    net.node()
    const both = { ...once, name: null }
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => net.service.deploy(net.account, 'key_none', both)),
    )
    const ids = new Set(answers.map((answer) => view(answer).id))
    assert.equal(ids.size, 1)
    const [id = ''] = ids
    const lease = await net.until(id, 'running')
    const { heldNanoUsd } = await net.store.balance(tenantLedger(net.account))
    assert.ok(heldNanoUsd > 0n && heldNanoUsd < 10_000_000n, String(heldNanoUsd))
    assert.ok(lease.rate > 0n)
  })

  it('with other contents is refused, and another tenant’s key is another key', async (t) => {
    const net = await setup(t)
    net.node()
    const first = view(await net.service.deploy(net.account, 'key_none', once))
    for (const other of [{ rule: 'reliable' as const }, { name: 'shop-2' }]) {
      const refusal = await net.service.deploy(net.account, 'key_none', { ...once, ...other })
      assert.ok(isRefusal(refusal) && refusal.code === 'idempotency_conflict')
      assert.equal(refusal.details['deployment'], first.id)
    }
    const stranger = await testTenant(net.store, 1_000_000_000n)
    const theirs = view(await net.service.deploy(stranger, 'key_none', once))
    assert.notEqual(theirs.id, first.id)
  })

  it('is kept for 24 hours, and not for a request that was refused', async (t) => {
    const net = await setup(t)
    const nameless = { ...once, name: null }
    assert.ok(isRefusal(await net.service.deploy(net.account, 'key_none', nameless)))
    const node = net.node()
    const first = view(await net.service.deploy(net.account, 'key_none', nameless))
    net.pass(DEPLOYMENT_KEY_MS - 1)
    node.beat()
    const again = view(await net.service.deploy(net.account, 'key_none', nameless))
    assert.equal(again.id, first.id)
    net.pass(1)
    node.beat()
    const later = view(await net.service.deploy(net.account, 'key_none', nameless))
    assert.notEqual(later.id, first.id)
  })
})
