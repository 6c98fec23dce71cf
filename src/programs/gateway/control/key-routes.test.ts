import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NO_LIMITS } from '../../../io/store/store.ts'
import { setupControl, textOf } from './test-network.ts'

describe('API keys', () => {
  it('are made with a secret that is shown once, kept as a hash, and works at once', async () => {
    const { ask, alices, store, alice, logs } = await setupControl()
    const body = {
      name: 'ci',
      scopes: ['account', 'keys'],
      budget_usd: '1.5',
      expires_at: '2027-04-01T00:00:00+02:00',
      limits: { concurrency: 2 },
    }
    const made = await ask(alices.secret, 'POST', '/v1/keys', body)
    const secret = textOf(made.answer['secret'])
    assert.equal(made.status, 201)
    assert.match(secret, /^sk-bl-[\w-]{43}$/)
    assert.equal(made.answer['expires_at'], '2027-03-31T22:00:00.000Z')
    assert.deepEqual(made.answer['budget'], { nano_usd: '1500000000', usd: '1.50' })
    assert.deepEqual(made.answer['limits'], {
      requests_per_minute: null,
      tokens_per_minute: null,
      concurrency: 2,
    })
    const shown = await ask(alices.secret, 'GET', `/v1/keys/${textOf(made.answer['id'])}`)
    assert.ok(!JSON.stringify([shown.answer, logs]).includes(secret))
    const stored = (await store.keys(alice.id)).at(-1)
    assert.match(stored?.hash ?? '', /^[0-9a-f]{64}$/)
    assert.ok(secret.startsWith(stored?.hint ?? 'none'))
    assert.equal((await ask(secret, 'GET', '/v1/account')).status, 200)
  })

  it('are listed in pages', async () => {
    const { ask, alices, keyFor, alice } = await setupControl()
    await keyFor(alice)
    const first = await ask(alices.secret, 'GET', '/v1/keys?limit=1')
    assert.deepEqual([first.answer['data']?.['length'], first.answer['has_more']], [1, true])
    const after = `/v1/keys?after=${textOf(first.answer['data']?.[0]?.['id'])}`
    const rest = await ask(alices.secret, 'GET', after)
    assert.deepEqual([rest.answer['data']?.['length'], rest.answer['has_more']], [1, false])
  })

  it('change only in what is named', async () => {
    const { ask, alices, keyFor, alice } = await setupControl()
    const limits = { ...NO_LIMITS, requestsPerMinute: 10 }
    const { key } = await keyFor(alice, { limits, budgetNanoUsd: 7n })
    const change = { limits: { concurrency: 3 }, budget_usd: null }
    const { answer } = await ask(alices.secret, 'PATCH', `/v1/keys/${key.id}`, change)
    assert.deepEqual(answer['limits'], {
      requests_per_minute: 10,
      tokens_per_minute: null,
      concurrency: 3,
    })
    assert.deepEqual([answer['name'], answer['budget']], ['test', null])
  })

  it('are revoked at once and for ever, twice without harm', async () => {
    const { ask, alices, keyFor, alice } = await setupControl()
    const { key, secret } = await keyFor(alice)
    assert.equal((await ask(secret, 'GET', '/v1/account')).status, 200)
    for (let times = 0; times < 2; times++) {
      const { answer } = await ask(alices.secret, 'DELETE', `/v1/keys/${key.id}`)
      assert.equal(answer['status'], 'revoked')
    }
    assert.equal((await ask(secret, 'GET', '/v1/account')).code, 'revoked_api_key')
    const change = await ask(alices.secret, 'PATCH', `/v1/keys/${key.id}`, { name: 'back' })
    assert.deepEqual([change.status, change.code], [409, 'conflict'])
  })

  it('cannot give scopes that they lack', async () => {
    const { ask, keyFor, alice, alices } = await setupControl()
    const keysOnly = await keyFor(alice, { scopes: ['keys'] })
    const wants = [
      ['POST', '/v1/keys', { name: 'x', scopes: ['inference'] }],
      ['PATCH', `/v1/keys/${keysOnly.key.id}`, { scopes: ['keys', 'inference'] }],
      // Nor change a key that can do more than they can.
      ['PATCH', `/v1/keys/${alices.key.id}`, { budget_usd: '1' }],
    ] as const
    for (const [method, path, body] of wants) {
      const { status, code } = await ask(keysOnly.secret, method, path, body)
      assert.deepEqual([status, code], [403, 'scope_missing'], `${method} ${path}`)
    }
    const body = { name: 'x', scopes: ['operator'] }
    assert.equal((await ask(alices.secret, 'POST', '/v1/keys', body)).code, 'scope_missing')
  })

  it('cannot shed their own bounds through another key', async () => {
    const { ask, keyFor, alice } = await setupControl()
    for (const bounds of [
      { budgetNanoUsd: 5n },
      { expiresAt: Date.parse('2028-01-01') },
      { limits: { ...NO_LIMITS, concurrency: 1 } },
    ]) {
      const { key, secret } = await keyFor(alice, bounds)
      const made = await ask(secret, 'POST', '/v1/keys', { name: 'free' })
      const widened = await ask(secret, 'PATCH', `/v1/keys/${key.id}`, { budget_usd: null })
      assert.deepEqual([made.code, widened.code], ['scope_missing', 'scope_missing'])
    }
  })
})
