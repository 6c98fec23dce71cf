import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { IngressTable, type IngressEntry } from './ingress-table.ts'

const entry: IngressEntry = { state: 'starting', message: 'soon', retryAfterS: 1 }

describe('the ingress table', () => {
  it('gives each lease the names below its own', () => {
    const table = setup()
    assert.ok(table.set('web.abc.lease.example', entry, 'lease_abc'))
    assert.equal(table.find('web.abc.lease.example'), entry)
    assert.ok(!table.set('web.abc.lease.example', entry, 'lease_def'))
    assert.ok(!table.set('web.xabc.lease.example', entry, 'lease_abc'))
    assert.ok(!table.set('web.lease.example', entry, 'lease_abc'))
  })

  it('gives a name of choice to the first that asks, until it has no more use for it', () => {
    const table = setup()
    assert.ok(table.set('Shop.Example.', entry, 'lease_abc'))
    assert.ok(table.set('shop.example', { ...entry, retryAfterS: 2 }, 'lease_abc'))
    assert.ok(!table.set('shop.example', entry, 'lease_def'))
    table.remove('shop.example', 'lease_def')
    assert.deepEqual(table.find('shop.example'), { ...entry, retryAfterS: 2 })
    table.remove('shop.example', 'lease_abc')
    assert.ok(table.set('shop.example', entry, 'lease_def'))
  })

  it("gives nobody the gateway's own names, an address or this machine", () => {
    const table = setup()
    for (const name of [
      'gateway.example',
      '127.0.0.1',
      '[::1]',
      'localhost',
      'x.localhost',
      'shop',
    ])
      assert.ok(!table.set(name, entry, 'lease_abc'), name)
  })

  it('gives no names of choice while the gateway does not know its own', () => {
    const table = new IngressTable()
    assert.ok(!table.set('shop.example', entry, 'lease_abc'))
    assert.ok(table.set('web.abc.localhost', entry, 'lease_abc'))
  })
})

const setup = () => new IngressTable({ domain: 'lease.example', own: ['Gateway.example'] })
