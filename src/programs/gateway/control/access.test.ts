/** Who may do what: every route against every kind of caller. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NODE, NOW, setupControl, textOf } from './test-network.ts'
import { SCOPES, type Scope } from '../../../io/store/store.ts'

const CHANNEL = `0x${'c'.repeat(64)}`
const PAYMENT = { x402Version: 2, paymentPayload: {}, paymentRequirements: { amount: '1' } }

/** Every guarded route and the scope it asks for. `:mine` and `:my-account` become Alice's. */
const GUARDED: readonly (readonly [Scope, string, string, unknown?])[] = [
  ['account', 'GET', '/v1/account'],
  ['account', 'GET', '/v1/usage'],
  ['account', 'GET', '/v1/receipts/rcpt_1'],
  ['keys', 'GET', '/v1/keys'],
  ['keys', 'POST', '/v1/keys', { name: 'new', scopes: ['keys'] }],
  ['keys', 'GET', '/v1/keys/:mine'],
  ['keys', 'PATCH', '/v1/keys/:mine', { name: 'new' }],
  ['keys', 'DELETE', '/v1/keys/:mine'],
  ['operator', 'GET', '/v1/accounts'],
  ['operator', 'POST', '/v1/accounts', { name: 'new' }],
  [
    'operator',
    'POST',
    '/v1/accounts/:my-account/credits',
    { amount_usd: '1', idempotency_key: 'x' },
  ],
  ['operator', 'GET', '/v1/payouts/operation'],
  ['account', 'POST', '/v1/channels', {}],
  ['account', 'GET', '/v1/channels'],
  ['account', 'POST', `/v1/channels/${CHANNEL}/vouchers`, {}],
  ['account', 'POST', `/v1/channels/${CHANNEL}/close`, {}],
  ['account', 'POST', '/x402/verify', PAYMENT],
  ['account', 'POST', '/x402/settle', PAYMENT],
  ['operator', 'PATCH', `/v1/network/nodes/${NODE}`, { tier: 'reserve' }],
  ['deployments', 'POST', '/v1/deployments/screen', { sdl: 'services' }],
  ['deployments', 'POST', '/v1/deployments/sealing-keys', { sdl: 'services' }],
  ['deployments', 'POST', '/v1/deployments', { sdl: 'services' }],
  ['deployments', 'GET', '/v1/deployments'],
  ['deployments', 'GET', '/v1/deployments/dep_1'],
  ['deployments', 'PUT', '/v1/deployments/dep_1', { sdl: 'services' }],
  ['deployments', 'DELETE', '/v1/deployments/dep_1'],
  ['deployments', 'GET', '/v1/deployments/dep_1/bids'],
  ['deployments', 'POST', '/v1/deployments/dep_1/leases/lease_1/accept', { node: NODE }],
  ['deployments', 'GET', '/v1/deployments/dep_1/events'],
  ['deployments', 'GET', '/v1/deployments/dep_1/tunnel'],
  ['deployments', 'GET', '/v1/deployments/dep_1/snapshots'],
  ['deployments', 'POST', '/v1/deployments/dep_1/snapshots', { service: 'web' }],
  ['deployments', 'GET', '/v1/deployments/dep_1/snapshots/snap_1/content'],
  ['deployments', 'DELETE', '/v1/deployments/dep_1/snapshots/snap_1'],
]

const OPEN = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/openapi.json',
  '/v1/network',
  '/v1/network/nodes',
  `/v1/network/nodes/${NODE}`,
  '/.well-known/agent-registration.json',
]

/** Open as well, and here nothing is paid on chain. */
const PAYOUTS = [
  '/v1/payouts',
  '/v1/payouts/epochs/1/leaves',
  `/v1/payouts/leaves/0x${'a'.repeat(40)}`,
  `/v1/payouts/accounts/0x${'a'.repeat(40)}`,
]
/** Open as well, and here nothing is settled on a chain. */
const SETTLED = [
  ['GET', '/v1/chain', undefined],
  ['GET', '/x402/supported', undefined],
  ['GET', `/v1/channels/${CHANNEL}/receipts/rcpt_2`, undefined],
  ['POST', '/v1/topups', { amount_usd: '1' }],
] as const

describe('access', () => {
  for (const [scope, method, path, body] of GUARDED) {
    it(`${method} ${path} asks for a key that is valid and has '${scope}'`, async () => {
      const { ask, keyFor, alice, alices } = await setupControl()
      const real = path.replace(':mine', alices.key.id).replace(':my-account', alice.id)
      const others = SCOPES.filter((one) => one !== scope)
      const callers = {
        missing_api_key: null,
        invalid_api_key: 'sk-bl-wrong',
        revoked_api_key: (await revoked()).secret,
        expired_api_key: (await keyFor(alice, { scopes: [scope], expiresAt: NOW })).secret,
        scope_missing: (await keyFor(alice, { scopes: others })).secret,
      }
      async function revoked() {
        const made = await keyFor(alice, { scopes: [scope] })
        await ask(alices.secret, 'DELETE', `/v1/keys/${made.key.id}`)
        return made
      }
      for (const [code, secret] of Object.entries(callers)) {
        const refused = await ask(secret, method, real, body)
        assert.deepEqual(
          [refused.status, refused.code],
          [code === 'scope_missing' ? 403 : 401, code],
        )
        // A stranger hears of the key before the body is even looked at.
        const nonsense = body === undefined ? undefined : 'not json'
        assert.equal((await ask(secret, method, real, nonsense)).code, code)
      }
    })
  }

  it('covers every route there is', async () => {
    const { ask } = await setupControl()
    const { answer } = await ask(null, 'GET', '/openapi.json')
    const routes = Object.entries(answer['paths'] ?? {})
      .filter(([path]) => !INFERENCE.test(path))
      .flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      )
    const covered = [
      ...GUARDED.map(([, method, path]) => `${method} ${asTemplate(path)}`),
      ...[...OPEN, ...PAYOUTS].map((path) => `GET ${asTemplate(path)}`),
      ...SETTLED.map(([method, path]) => `${method} ${asTemplate(path)}`),
    ]
    assert.ok(routes.length > 15)
    assert.deepEqual(routes.toSorted(), covered.toSorted())
  })

  it('leaves open what everybody may see', async () => {
    const { ask } = await setupControl()
    for (const path of OPEN) assert.equal((await ask(null, 'GET', path)).status, 200, path)
    for (const path of PAYOUTS)
      assert.equal((await ask(null, 'GET', path)).code, 'settlement_off', path)
    for (const [method, path, body] of SETTLED)
      assert.equal((await ask(null, method, path, body)).code, 'settlement_off', path)
  })

  it('shows and changes nothing of another tenant, and does not say that it exists', async () => {
    const { ask, alices, bobs, store, alice } = await setupControl()
    const id = alices.key.id
    const mine = [
      ['GET', `/v1/keys/${id}`],
      ['PATCH', `/v1/keys/${id}`, { name: 'stolen' }],
      ['DELETE', `/v1/keys/${id}`],
    ] as const
    for (const [method, path, body] of mine) {
      const other = await ask(bobs.secret, method, path, body)
      const none = await ask(bobs.secret, method, path.replace(id, 'key_none'), body)
      assert.equal(other.status, 404)
      const message = (answer: typeof other) => textOf(answer.answer['error']?.['message'])
      assert.equal(message(other).replace(id, ''), message(none).replace('key_none', ''))
    }
    const [key] = await store.keys(alice.id)
    assert.deepEqual([key?.name, key?.revokedAt], ['test', null])
    const list = await ask(bobs.secret, 'GET', '/v1/keys')
    assert.ok(!JSON.stringify(list.answer).includes(id))
    const account = await ask(bobs.secret, 'GET', '/v1/account')
    assert.equal(account.answer['name'], 'bob')
  })

  it('keeps the keys of a tenant from its operator', async () => {
    const { ask, alices, operators } = await setupControl()
    const { status } = await ask(operators.secret, 'DELETE', `/v1/keys/${alices.key.id}`)
    assert.equal(status, 404)
  })
})

const asTemplate = (path: string) =>
  path
    .replace(/(:my-account|:mine|rcpt_1|dep_1|node_a+)/, '{id}')
    .replace('lease_1', '{lease}')
    .replace('rcpt_2', '{receipt}')
    .replace(CHANNEL, '{id}')
    .replace('snap_1', '{snapshot}')
    .replace('/epochs/1/', '/epochs/{number}/')
    .replace(/0xa+/, '{address}')

/** The hot path's routes, whose keys its own tests check. */
const INFERENCE = /^\/v1\/(models(\/\{id\})?|chat\/completions|completions|embeddings)$/
