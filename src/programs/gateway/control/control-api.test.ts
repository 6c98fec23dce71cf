import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault, REFUSALS } from '../../../core/base/refusal.ts'
import {
  ABSENT_NODE,
  ADDRESSES,
  NODE,
  NOW,
  setupControl,
  testCredit,
  type Answer,
  textOf,
} from './test-network.ts'

describe('GET /healthz and /readyz', () => {
  it('says that it lives, with its clock', async () => {
    const { ask } = await setupControl()
    const { status, answer } = await ask(null, 'GET', '/healthz')
    assert.deepEqual(
      [status, answer],
      [200, { status: 'ok', nowMs: NOW, gateway: 'gw_test', version: '1.2.3' }],
    )
  })

  it('answers 503 and what is missing while a part is not ready', async () => {
    const parts = [
      { part: 'nodes', ok: true, why: null },
      { part: 'store', ok: false, why: 'connect ECONNREFUSED 203.0.113.7:5432' },
    ]
    const { ask } = await setupControl({ ready: () => Promise.resolve(parts) })
    const { status, answer } = await ask(null, 'GET', '/readyz')
    assert.deepEqual([status, answer['status']], [503, 'not_ready'])
    assert.equal(answer['parts']?.[1]?.['why'], 'connect ECONNREFUSED [address]')
  })

  it('gives metrics as Prometheus text', async () => {
    const { ask } = await setupControl()
    const { status, headers } = await ask(null, 'GET', '/metrics')
    assert.equal(status, 200)
    assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  })
})

describe('GET /v1/account', () => {
  it('shows balance, what is held and what is left, exactly and in dollars', async () => {
    const { ask, store, alice, alices } = await setupControl()
    await store.transfer(testCredit(alice, 5_000_000_001n))
    const { status, answer } = await ask(alices.secret, 'GET', '/v1/account')
    assert.equal(status, 200)
    assert.deepEqual(answer['balance'], { nano_usd: '5000000001', usd: '5.000000001' })
    assert.deepEqual(answer['held'], { nano_usd: '500000000', usd: '0.50' })
    assert.deepEqual(answer['available'], { nano_usd: '4500000001', usd: '4.500000001' })
    assert.equal(answer['test_credit'], true)
    assert.equal(answer['key']?.['id'], alices.key.id)
  })
})

describe('GET /v1/usage', () => {
  it('sums by day, model and node, over the time that was asked for', async () => {
    const { ask, usages, alice, bob, alices } = await setupControl()
    usages.push(usageOf(alice.id, '2027-02-27', 'bard-3m', 100n))
    usages.push(usageOf(alice.id, '2027-02-28', 'bard-3m', 20n))
    usages.push(usageOf(alice.id, '2027-02-28', 'other', 3n))
    usages.push(usageOf(alice.id, '2026-01-01', 'bard-3m', 1000n))
    usages.push(usageOf(bob.id, '2027-02-28', 'bard-3m', 7000n))
    const { answer } = await ask(alices.secret, 'GET', '/v1/usage?from=2027-02-01&recent=2')
    assert.deepEqual(answer['totals'], {
      requests: 3,
      input_tokens: 30,
      output_tokens: 60,
      cost: { nano_usd: '123', usd: '0.000000123' },
    })
    assert.deepEqual(sumsOf(answer['by_day'], 'day'), { '2027-02-27': '100', '2027-02-28': '23' })
    assert.deepEqual(sumsOf(answer['by_model'], 'model'), { 'bard-3m': '120', other: '3' })
    assert.deepEqual(sumsOf(answer['by_node'], 'node'), { [NODE]: '123' })
    assert.equal(answer['recent']?.['length'], 2)
  })

  it('refuses a time that ends before it begins, or is too long', async () => {
    const { ask, alices } = await setupControl()
    for (const query of ['from=2027-03-02', 'from=2020-01-01', 'from=yesterday', 'recent=1000']) {
      const { status, code } = await ask(alices.secret, 'GET', `/v1/usage?${query}`)
      assert.deepEqual([status, code], [400, 'invalid_value'], query)
    }
  })
})

describe('GET /v1/receipts/:id', () => {
  it('gives one receipt as the file that can be verified, and a request as a list', async () => {
    const { ask, receipts, alice, alices } = await setupControl()
    receipts.push({ account: alice.id, proven: receiptOf('rcpt_1', 'req_1') })
    const one = await ask(alices.secret, 'GET', '/v1/receipts/rcpt_1')
    assert.deepEqual(Object.keys(one.answer), ['receipt', 'proof'])
    const list = await ask(alices.secret, 'GET', '/v1/receipts/req_1')
    assert.deepEqual([list.answer['object'], list.answer['data']?.['length']], ['list', 1])
  })

  it('waits for a receipt that is still on its way', async () => {
    const late: (() => void)[] = []
    const { ask, receipts, alice, alices } = await setupControl({
      settled: async () => late.forEach((arrive) => arrive()),
    })
    late.push(() => receipts.push({ account: alice.id, proven: receiptOf('rcpt_1', 'req_1') }))
    assert.equal((await ask(alices.secret, 'GET', '/v1/receipts/rcpt_1')).status, 200)
  })

  it('is not found for whom it does not belong to', async () => {
    const { ask, receipts, alice, bobs, operators } = await setupControl()
    receipts.push({ account: alice.id, proven: receiptOf('rcpt_1', 'req_1') })
    for (const { secret } of [bobs, operators]) {
      for (const id of ['rcpt_1', 'req_1', 'nothing'])
        assert.equal((await ask(secret, 'GET', `/v1/receipts/${id}`)).code, 'not_found')
    }
  })
})

describe('GET /v1/network', () => {
  it('shows capacity, prices and uptime to anyone', async () => {
    const { ask } = await setupControl()
    const totals = await ask(null, 'GET', '/v1/network')
    assert.deepEqual(
      ['nodes', 'slots', 'free_slots', 'gateway_key'].map((field) => totals.answer[field]),
      [2, 8, 6, 'gateway-key'],
    )
    const { answer } = await ask(null, 'GET', '/v1/network/nodes')
    const node = answer['data']?.[0]
    assert.deepEqual([node?.['id'], node?.['uptime'], node?.['region']], [NODE, 0.75, 'eu-de'])
    const model = node?.['models']?.[0]
    assert.deepEqual(
      [model?.['model'], model?.['input_usd_per_mtok'], model?.['output_usd_per_mtok']],
      ['bard-3m', '0.05', '0.20'],
    )
  })

  it('never shows an address, not even inside a reason', async () => {
    const { ask } = await setupControl()
    const { answer } = await ask(null, 'GET', '/v1/network/nodes')
    const text = JSON.stringify(answer)
    assert.match(text, /"reason":"cannot reach \[address\].* connect ECONNREFUSED \[address\]/)
    for (const address of ADDRESSES) assert.ok(!text.includes(address), `${address} in ${text}`)
  })

  it('pages and filters', async () => {
    const { ask } = await setupControl()
    const first = await ask(null, 'GET', '/v1/network/nodes?limit=1')
    assert.deepEqual([first.answer['data']?.['length'], first.answer['has_more']], [1, true])
    const second = await ask(null, 'GET', `/v1/network/nodes?limit=1&after=${NODE}`)
    assert.deepEqual([second.answer['data']?.['length'], second.answer['has_more']], [1, false])
    assert.notEqual(textOf(second.answer['data']?.[0]?.['id']), NODE)
    for (const query of ['tier=reserve', 'region=mars', 'model=gone'])
      assert.equal(
        (await ask(null, 'GET', `/v1/network/nodes?${query}`)).answer['data']?.['length'],
        0,
      )
    assert.equal((await ask(null, 'GET', '/v1/network/nodes?limit=1001')).code, 'invalid_value')
  })

  it('shows one node with its signed offer, and one that is away', async () => {
    const { ask } = await setupControl()
    const linked = await ask(null, 'GET', `/v1/network/nodes/${NODE}`)
    assert.equal(linked.answer['signed_offer']?.['signature'], 'signed')
    const absent = await ask(null, 'GET', `/v1/network/nodes/${ABSENT_NODE}`)
    assert.deepEqual([absent.answer['linked'], absent.answer['signed_offer']], [false, null])
    assert.equal((await ask(null, 'GET', '/v1/network/nodes/node_x')).code, 'not_found')
  })

  it('lets an operator set a tier, and tells the router at once', async () => {
    const told: string[] = []
    const { ask, operators } = await setupControl({
      network: { nodes: () => [], changed: ({ tier }) => void told.push(tier) },
    })
    const path = `/v1/network/nodes/${NODE}`
    const { answer } = await ask(operators.secret, 'PATCH', path, { tier: 'vetted' })
    assert.deepEqual([answer['tier'], told], ['vetted', ['vetted']])
    const wrong = await ask(operators.secret, 'PATCH', path, { tier: 'gold' })
    assert.deepEqual([wrong.code, wrong.answer['error']?.['param']], ['invalid_value', 'tier'])
  })
})

describe('operators', () => {
  it('make a tenant whose key works, and give it credit once', async () => {
    const { ask, operators } = await setupControl()
    const made = await ask(operators.secret, 'POST', '/v1/accounts', { name: 'carol' })
    assert.equal(made.status, 201)
    const secret = textOf(made.answer['key']?.['secret'])
    const path = `/v1/accounts/${textOf(made.answer['id'])}/credits`
    const credit = { amount_usd: '2.50', idempotency_key: 'welcome' }
    const [first, again] = [
      await ask(operators.secret, 'POST', path, credit),
      await ask(operators.secret, 'POST', path, credit),
    ]
    assert.deepEqual([first.answer['posted'], again.answer['posted']], [true, false])
    const other = await ask(operators.secret, 'POST', path, { ...credit, amount_usd: '3' })
    assert.deepEqual([other.status, other.code], [409, 'idempotency_conflict'])
    const { answer } = await ask(secret, 'GET', '/v1/account')
    assert.equal(answer['balance']?.['usd'], '2.50')
    const all = await ask(operators.secret, 'GET', '/v1/accounts')
    assert.equal(all.answer['data']?.['length'], 4)
  })

  it('cannot give nothing, less than nothing, too much, or to nobody', async () => {
    const { ask, operators, alice } = await setupControl()
    const path = `/v1/accounts/${alice.id}/credits`
    for (const amount of ['0', '-1', '1000000.000000001', '1e3', 'five', 5]) {
      const body = { amount_usd: amount, idempotency_key: 'x' }
      const { code, answer } = await ask(operators.secret, 'POST', path, body)
      assert.deepEqual([code, answer['error']?.['param']], ['invalid_value', 'amount_usd'])
    }
    const body = { amount_usd: '1', idempotency_key: 'x' }
    const nobody = await ask(operators.secret, 'POST', '/v1/accounts/acct_x/credits', body)
    assert.equal(nobody.code, 'not_found')
  })
})

describe('requests that are not as they should be', () => {
  it('names the field at fault', async () => {
    const { ask, alices } = await setupControl()
    const cases: [unknown, string, string | null][] = [
      [{}, 'missing_parameter', 'name'],
      [{ name: 7 }, 'invalid_value', 'name'],
      [{ name: 'x', scopes: ['root'] }, 'invalid_value', 'scopes[0]'],
      [{ name: 'x', limits: { concurrency: 0 } }, 'invalid_value', 'limits.concurrency'],
      [{ name: 'x', limits: { speed: 1 } }, 'unknown_parameter', 'limits.speed'],
      [{ name: 'x', budget: '1' }, 'unknown_parameter', 'budget'],
      [{ name: 'x', budget_usd: '-1' }, 'invalid_value', 'budget_usd'],
      [{ name: 'x', expires_at: 'soon' }, 'invalid_value', 'expires_at'],
      [{ name: 'x', expires_at: '2020-01-01T00:00:00Z' }, 'invalid_value', 'expires_at'],
      ['{"name":', 'invalid_json', null],
      ['[]', 'invalid_value', 'json'],
    ]
    for (const [body, code, param] of cases) {
      const { status, answer } = await ask(alices.secret, 'POST', '/v1/keys', body)
      assert.deepEqual([answer['error']?.['code'], answer['error']?.['param']], [code, param])
      assert.equal(status, 400)
    }
  })

  it('wants JSON, and not much of it', async () => {
    const { api, ask, alices } = await setupControl()
    const form = await api.fetch(
      new Request('http://gateway.test/v1/keys', {
        method: 'POST',
        headers: { authorization: `Bearer ${alices.secret}` },
        body: new URLSearchParams({ name: 'x' }),
      }),
    )
    assert.equal(form.status, 415)
    const large = await ask(alices.secret, 'POST', '/v1/keys', { name: 'x'.repeat(70_000) })
    assert.deepEqual([large.status, large.code], [413, 'request_too_large'])
  })

  it('hints at the route that was meant', async () => {
    const { ask } = await setupControl()
    for (const [path, hint] of [
      ['/v1/key', '/v1/keys'],
      ['/chat/completions', '/v1/chat/completions'],
      ['/v1/v1/models', '/v1/models'],
    ] as const) {
      const { status, code, answer } = await ask(null, 'GET', path)
      assert.deepEqual([status, code], [404, 'not_found'])
      assert.ok(textOf(answer['error']?.['message']).includes(`Did you mean ${hint}`), path)
    }
    assert.equal((await ask(null, 'GET', `/${'x'.repeat(5000)}`)).code, 'not_found')
  })

  it('answers a wrong method with the right ones, on model routes too', async () => {
    const { ask } = await setupControl()
    for (const [method, path, allow] of [
      ['DELETE', '/v1/account', 'GET, HEAD, OPTIONS'],
      ['PUT', '/v1/keys/key_1', 'GET, PATCH, DELETE, HEAD, OPTIONS'],
      ['GET', '/v1/chat/completions', 'POST, OPTIONS'],
    ] as const) {
      const { status, code, headers } = await ask(null, method, path)
      assert.deepEqual([status, code], [405, 'method_not_allowed'])
      assert.equal(headers.get('allow'), allow)
    }
  })

  it('is 503 with retry-after while the database is away, and tells nothing else of faults', async () => {
    const { ask, store, alices, logs } = await setupControl()
    store.balance = () => Promise.reject(new Fault('store_unavailable', 'db.internal is down'))
    const away = await ask(alices.secret, 'GET', '/v1/account')
    assert.deepEqual([away.status, away.code], [503, 'store_unavailable'])
    assert.equal(away.headers.get('retry-after'), '2')
    store.balance = () => Promise.reject(new Error('secret detail'))
    const broken = await ask(alices.secret, 'GET', '/v1/account')
    assert.deepEqual([broken.status, broken.code], [500, 'internal_error'])
    assert.ok(!JSON.stringify([away.answer, broken.answer]).match(/db\.internal|secret detail/))
    const requestId = broken.headers.get('x-request-id')
    assert.ok(requestId !== null && JSON.stringify(logs).includes(requestId))
  })

  it('can answer with the status of every refusal there is', async () => {
    for (const code of Object.keys(REFUSALS) as (keyof typeof REFUSALS)[]) {
      const refusal = {
        refused: true,
        code,
        message: '',
        param: null,
        retryAfterS: null,
        details: {},
      }
      const { ask } = await setupControl({
        authenticate: () => Promise.resolve({ ...refusal, refused: true }),
      })
      assert.equal((await ask('x', 'GET', '/v1/account')).status, REFUSALS[code].status)
    }
  })
})

describe('every answer', () => {
  it('has a request id and can be read by any web page', async () => {
    const { ask } = await setupControl()
    for (const path of ['/healthz', '/v1/account', '/nowhere']) {
      const { headers } = await ask(null, 'GET', path)
      assert.match(headers.get('x-request-id') ?? '', /^req_/)
      assert.equal(headers.get('access-control-allow-origin'), '*')
      assert.equal(headers.get('access-control-expose-headers'), '*')
      assert.equal(headers.get('access-control-allow-credentials'), null)
    }
  })

  it('lets browsers ask first, on model routes too', async () => {
    const { ask } = await setupControl()
    const { status, headers } = await ask(null, 'OPTIONS', '/v1/chat/completions')
    assert.equal(status, 204)
    assert.match(headers.get('access-control-allow-headers') ?? '', /authorization/)
    assert.match(headers.get('access-control-allow-methods') ?? '', /POST/)
  })
})

const usageOf = (account: string, day: string, model: string, nanoUsd: bigint) => ({
  attempt: `att_${nanoUsd}`,
  request: `req_${nanoUsd}`,
  account,
  apiKey: 'key_1',
  node: NODE,
  model,
  api: 'chat' as const,
  billedInputTokens: 10,
  outputTokens: 20,
  nanoUsd,
  hold: null,
  startedAt: Date.parse(`${day}T10:00:00Z`),
  finishedAt: Date.parse(`${day}T10:00:01Z`),
  witness: 'node' as const,
})

/** [{ [by]: name, cost }] → { name: nano-dollars } */
const sumsOf = (rows: Answer | undefined, by: string) =>
  Object.fromEntries(
    Object.values(rows ?? {}).map((row) => [row[by], row['cost']?.['nano_usd']]),
  ) as unknown

const receiptOf = (id: string, request: string) => ({
  receipt: {
    v: 1 as const,
    id,
    attempt: id.replace('rcpt', 'att'),
    request,
    gateway: 'gw_test',
    node: NODE,
    nodeKey: 'key',
    api: 'chat' as const,
    model: 'bard-3m',
    modelDigest: 'name:x',
    engine: 'test/1',
    requestHash: '0'.repeat(64),
    outputHash: '0'.repeat(64),
    textHash: '0'.repeat(64),
    choice: 0,
    seed: 1,
    firstToken: 0,
    inputTokens: 1,
    billedInputTokens: 1,
    outputTokens: 1,
    finish: 'stop' as const,
    startedAtMs: NOW,
    finishedAtMs: NOW,
    inputNanoUsdPerMTok: '1',
    outputNanoUsdPerMTok: '1',
    carryIn: 0,
    carryOut: 0,
    nanoUsd: '0',
    previous: '0'.repeat(64),
  },
  proof: { signedAtMs: NOW, signature: 's', leafIndex: 0, leafCount: 1, path: [] },
})
