import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import { MAX_SEALED_NODES } from '../../../core/protocol/secrets.ts'
import { SDL_BODY_BYTES } from './deployment-routes.ts'
import { FakeLeaseService } from './fake-lease-service.ts'
import { NOW, setupControl, textOf } from './test-network.ts'

const SDL = 'services:\n  web:\n    image: nginx:1.27\n'

describe('POST /v1/deployments/screen', () => {
  it('says who could run it at what price, why others cannot, and what would help', async () => {
    const { ask, alices } = await setup()
    const { status, answer } = await ask(alices.secret, 'POST', '/v1/deployments/screen', {
      sdl: SDL,
    })
    assert.equal(status, 200)
    const group = answer['groups']?.['0']
    assert.deepEqual(group?.['bids']?.['0']?.['rate'], {
      atto_usd_per_second: '11111111111111',
      usd_per_hour: '0.04',
      usd_per_month: '29.22',
    })
    assert.match(textOf(group?.['reasons']?.['0']), /4 of 9 nodes/)
    assert.match(textOf(group?.['relaxations']?.['0']), /drop region/)
    assert.match(textOf(answer['warnings']?.['0']), /depends_on/)
  })

  it('refuses a file that cannot be read, with the place', async () => {
    const { ask, alices } = await setup()
    const wrong = await ask(alices.secret, 'POST', '/v1/deployments/screen', { sdl: 'version: 2' })
    assert.deepEqual([wrong.status, wrong.code], [400, 'invalid_sdl'])
    assert.match(textOf(wrong.answer['error']?.['message']), /app\.yaml:1:1/)
  })
})

describe('/v1/deployments', () => {
  it('deploys, lists newest first, shows by id and by name, and closes', async () => {
    const { ask, alices } = await setup()
    const made = await ask(alices.secret, 'POST', '/v1/deployments', { sdl: SDL, name: 'shop' })
    assert.equal(made.status, 201)
    assert.equal(made.answer['sdl'], SDL)
    assert.equal(made.answer['created_at'], new Date(NOW).toISOString())
    assert.equal(made.answer['leases']?.['0']?.['spent']?.['nano_usd'], '1234')
    assert.equal(made.answer['rate']?.['usd_per_hour'], '0.04')
    await ask(alices.secret, 'POST', '/v1/deployments', { sdl: SDL })
    const list = await ask(alices.secret, 'GET', '/v1/deployments')
    assert.deepEqual(namesOf(list.answer), ['calm-2', 'shop'])
    assert.equal(list.answer['data']?.['0']?.['sdl'], undefined, 'too long for a list')
    const first = await ask(alices.secret, 'GET', '/v1/deployments?limit=1')
    assert.deepEqual([namesOf(first.answer), first.answer['has_more']], [['calm-2'], true])
    const byName = await ask(alices.secret, 'GET', '/v1/deployments/shop')
    assert.equal(byName.answer['id'], made.answer['id'])
    const closed = await ask(alices.secret, 'DELETE', '/v1/deployments/shop')
    assert.equal(closed.answer['close_reason'], 'the tenant closed it')
    const open = await ask(alices.secret, 'GET', '/v1/deployments?closed=false')
    assert.deepEqual(namesOf(open.answer), ['calm-2'])
    const all = await ask(alices.secret, 'GET', '/v1/deployments?closed=true')
    assert.deepEqual(namesOf(all.answer), ['calm-2', 'shop'])
  })

  it('takes an update, and the bid that a tenant chooses', async () => {
    const { ask, alices } = await setup()
    const wish = { sdl: SDL, name: 'shop', rule: 'manual' }
    const { answer } = await ask(alices.secret, 'POST', '/v1/deployments', wish)
    const lease = textOf(answer['leases']?.['0']?.['id'])
    const bids = await ask(alices.secret, 'GET', '/v1/deployments/shop/bids')
    const node = textOf(bids.answer['groups']?.['0']?.['bids']?.['1']?.['node'])
    const path = `/v1/deployments/shop/leases/${lease}/accept`
    const accepted = await ask(alices.secret, 'POST', path, { node })
    assert.equal(accepted.answer['leases']?.['0']?.['node'], node)
    const twice = await ask(alices.secret, 'POST', path, { node })
    assert.deepEqual([twice.status, twice.code], [409, 'conflict'])
    const sdl = `${SDL}    count: 2\n`
    const changed = await ask(alices.secret, 'PUT', '/v1/deployments/shop', { sdl })
    assert.equal(changed.answer['sdl'], sdl)
  })

  it("shows and changes nothing of another tenant's, and does not say that it exists", async () => {
    const { ask, alices, bobs, leases, alice } = await setup()
    await ask(alices.secret, 'POST', '/v1/deployments', { sdl: SDL, name: 'shop' })
    const mine = [
      ['GET', '/v1/deployments/dep_1'],
      ['GET', '/v1/deployments/shop'],
      ['PUT', '/v1/deployments/dep_1', { sdl: SDL }],
      ['DELETE', '/v1/deployments/dep_1'],
      ['GET', '/v1/deployments/dep_1/bids'],
      ['GET', '/v1/deployments/dep_1/events'],
      ['POST', '/v1/deployments/dep_1/leases/lease_of_dep_1/accept', { node: 'n' }],
    ] as const
    for (const [method, path, body] of mine) {
      const other = await ask(bobs.secret, method, path, body)
      assert.deepEqual([other.status, other.code], [404, 'not_found'], `${method} ${path}`)
      const none = await ask(bobs.secret, method, path.replace(/dep_1|shop/, 'dep_9'), body)
      assert.equal(none.code, 'not_found')
    }
    assert.deepEqual(namesOf((await ask(bobs.secret, 'GET', '/v1/deployments')).answer), [])
    const kept = await leases.deployment(alice.id, 'dep_1')
    assert.ok('closedAt' in kept && kept.closedAt === null)
  })

  it('names the field at fault', async () => {
    const { ask, alices } = await setup()
    const wrong = [
      [{}, 'missing_parameter', 'sdl'],
      [{ sdl: '' }, 'invalid_value', 'sdl'],
      [{ sdl: SDL, name: 'Not Good' }, 'invalid_value', 'name'],
      [{ sdl: SDL, rule: 'dearest' }, 'invalid_value', 'rule'],
      [{ sdl: SDL, region: 'eu' }, 'unknown_parameter', 'region'],
    ] as const
    for (const [body, code, param] of wrong) {
      const refused = await ask(alices.secret, 'POST', '/v1/deployments', body)
      assert.deepEqual([refused.code, refused.answer['error']?.['param']], [code, param])
    }
    const query = await ask(alices.secret, 'GET', '/v1/deployments?closed=perhaps')
    assert.equal(query.code, 'invalid_value')
  })

  it('takes an SDL of almost 1 MiB, and refuses more', async () => {
    const { ask, alices } = await setup()
    const long = SDL + '#'.repeat(SDL_BODY_BYTES - 200)
    assert.equal((await ask(alices.secret, 'POST', '/v1/deployments', { sdl: long })).status, 201)
    const over = await ask(alices.secret, 'POST', '/v1/deployments', { sdl: `${long}${long}` })
    assert.deepEqual([over.status, over.code], [413, 'request_too_large'])
    const elsewhere = await ask(alices.secret, 'POST', '/v1/keys', { name: 'x'.repeat(70_000) })
    assert.equal(elsewhere.code, 'request_too_large')
  })

  it('gives the keys that secrets are sealed to, and takes only envelopes', async () => {
    const { ask, alices, alice, leases } = await setup()
    const keys = await ask(alices.secret, 'POST', '/v1/deployments/sealing-keys', { sdl: SDL })
    assert.equal(keys.status, 200)
    const group = keys.answer['groups']?.['0']
    const [sealer] = leases.sealers
    assert.deepEqual(
      [keys.answer['tenant'], keys.answer['deployment'], group?.['nodes']?.['0']?.['node']],
      [alice.id, null, sealer?.identity.id],
    )
    const box = 'b'.repeat(108)
    const key = 'k'.repeat(43)
    const keysOf = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [nodeAt(i), { key, box }]))
    const one = { v: 1, group: 'here', names: ['web.A'], ciphertext: 'AQ', keys: keysOf(1) }
    const nonce = 'n'.repeat(22)
    const sent = (envelope: unknown, more = {}) => ({
      sdl: SDL,
      secrets: { nonce, groups: [envelope], ...more },
    })
    const full = { ...one, keys: keysOf(MAX_SEALED_NODES) }
    const made = await ask(alices.secret, 'POST', '/v1/deployments', sent(full))
    assert.equal(made.status, 201)
    assert.deepEqual(leases.secrets.at(-1), { nonce, groups: [full] })
    const wrong: [body: unknown, param: string][] = [
      [sent({ ...one, keys: keysOf(MAX_SEALED_NODES + 1) }), 'secrets.groups[0].keys'],
      [sent({ ...one, keys: {} }), 'secrets.groups[0].keys'],
      [sent({ ...one, names: [] }), 'secrets.groups[0].names'],
      [sent({ ...one, names: ['A=b'] }), 'secrets.groups[0].names[0]'],
      [sent({ ...one, ciphertext: 'A'.repeat(90_000) }), 'secrets.groups[0].ciphertext'],
      [sent(one, { nonce: 'short' }), 'secrets.nonce'],
      [sent({ ...one, values: { A: 'b' } }), 'secrets.groups[0].values'],
    ]
    for (const [body, param] of wrong) {
      const refused = await ask(alices.secret, 'POST', '/v1/deployments', body)
      assert.equal(refused.status, 400)
      assert.equal(refused.answer['error']?.['param'], param)
    }
    const changed = await ask(alices.secret, 'PUT', '/v1/deployments/dep_1', {
      sdl: SDL,
      secrets: { groups: [one] },
    })
    assert.equal(changed.status, 200)
    assert.deepEqual(leases.secrets.at(-1), [one])
  })

  it('says that the database is away, and that a gateway has no leases', async () => {
    const { ask, alices, leases } = await setup()
    leases.away = new Fault('store_unavailable', 'away', { retryable: true })
    const away = await ask(alices.secret, 'POST', '/v1/deployments', { sdl: SDL })
    assert.deepEqual([away.status, away.code], [503, 'store_unavailable'])
    const without = await setupControl()
    const none = await without.ask(without.alices.secret, 'GET', '/v1/deployments')
    assert.deepEqual([none.status, none.code], [503, 'leases_unavailable'])
    assert.match(textOf(none.answer['error']?.['message']), /without leases/)
  })

  it('tells a client without a WebSocket that the tunnel is one', async () => {
    const { ask, alices } = await setup()
    const plain = await ask(alices.secret, 'GET', '/v1/deployments/dep_1/tunnel')
    assert.deepEqual([plain.status, plain.code], [426, 'upgrade_required'])
  })
})

const nodeAt = (i: number): string => `node_${String(i).padStart(24, '0')}`

async function setup() {
  const leases = new FakeLeaseService(() => NOW)
  return { leases, ...(await setupControl({ leases })) }
}

const namesOf = (list: Awaited<ReturnType<Awaited<ReturnType<typeof setup>>['ask']>>['answer']) =>
  Object.values(list['data'] ?? {}).map((one) => one['name'])
