/** What people and programs get wrong most often, over real HTTP and a real link: docs/errors.md, line by line. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FRAME } from '../../src/core/protocol/frame.ts'
import { MAX_BODY_BYTES } from '../../src/core/protocol/inference-request.ts'
import { MAX_CLOCK_SKEW_MS, type Hello } from '../../src/core/protocol/link.ts'
import { ephemeralIdentity } from '../../src/io/keys/identity.ts'
import { helloRaw } from '../../src/io/link/test-kit.ts'
import { NO_LIMITS, tenantLedger, type ApiKey } from '../../src/io/store/store.ts'
import { answerOf, hello, smallNetwork, type SmallNetwork } from '../support/small-network.ts'

const limit = { timeout: 60_000 }
const CREDIT = 1_000_000_000n

type Line = {
  readonly what: string
  readonly ask: (network: SmallNetwork, key: string, account: string) => Promise<Response>
  readonly status: number
  readonly code: string
  readonly param?: string
  /** The message names the thing, and what to do next. */
  readonly says: RegExp
  readonly headers?: Readonly<Record<string, RegExp>>
}

const CHAT = '/v1/chat/completions'
const chat =
  (body: object): Line['ask'] =>
  (network, key) =>
    network.post(CHAT, { ...hello, ...body }, { key })
const raw =
  (body: string | Buffer): Line['ask'] =>
  ({ url }, key) =>
    fetch(url + CHAT, { method: 'POST', headers: { authorization: `Bearer ${key}` }, body })
const authorized =
  (authorization: string): Line['ask'] =>
  ({ url }) =>
    fetch(url + CHAT, {
      method: 'POST',
      headers: authorization === '' ? {} : { authorization },
      body: JSON.stringify(hello),
    })
const withKey =
  (more: Partial<ApiKey>): Line['ask'] =>
  async (network, _key, account) => {
    const { key } = await network.newKey(account, more)
    return network.post(CHAT, hello, { key })
  }

const LINES: readonly Line[] = [
  {
    what: 'unknown model: near names are offered',
    ask: chat({ model: 'wordz' }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: /'wordz'\. Did you mean words\? GET \/v1\/models/,
  },
  {
    what: 'no model at all',
    ask: chat({ model: undefined }),
    status: 400,
    code: 'missing_parameter',
    param: 'model',
    says: /required parameter: 'model'/,
  },
  {
    what: 'empty messages',
    ask: chat({ messages: [] }),
    status: 400,
    code: 'invalid_value',
    param: 'messages',
    says: /'messages' is empty: send at least one/,
  },
  {
    what: 'an image in a message',
    ask: chat({
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'what is this?' },
            { type: 'image_url', image_url: { url: 'data:,' } },
          ],
        },
      ],
    }),
    status: 400,
    code: 'unsupported_feature',
    param: 'messages[0].content[1].type',
    says: /'image_url' is not offered: no engine here sees/,
  },
  {
    what: 'negative max_tokens',
    ask: chat({ max_tokens: -1 }),
    status: 400,
    code: 'invalid_value',
    param: 'max_tokens',
    says: /'max_tokens' must be an integer from 1 to 1000000; got -1/,
  },
  {
    what: 'n too large',
    ask: chat({ n: 17 }),
    status: 400,
    code: 'invalid_value',
    param: 'n',
    says: /'n' must be an integer from 1 to 16; got 17/,
  },
  {
    what: 'a number as a string',
    ask: chat({ temperature: '0.7' }),
    status: 400,
    code: 'invalid_value',
    param: 'temperature',
    says: /'temperature' must be a number from 0 to 2; got '0\.7'/,
  },
  {
    what: 'unknown parameter',
    ask: chat({ temprature: 1 }),
    status: 400,
    code: 'unknown_parameter',
    param: 'temprature',
    says: /'temprature'\. See \/openapi\.json/,
  },
  {
    what: 'unknown routing preference',
    ask: chat({ provider: { prefer: 'cheap' } }),
    status: 400,
    code: 'unknown_parameter',
    param: 'provider.prefer',
    says: /'provider\.prefer'\. See \/openapi\.json/,
  },
  {
    what: 'stream_options without stream',
    ask: chat({ stream_options: { include_usage: true } }),
    status: 400,
    code: 'invalid_value',
    param: 'stream_options',
    says: /'stream_options' is only allowed when 'stream' is true/,
  },
  {
    what: 'tools, which no engine offers',
    ask: chat({ tools: [{ type: 'function', function: { name: 'now' } }] }),
    status: 400,
    code: 'unsupported_feature',
    param: 'tools',
    says: /'tools' is not offered by any engine here yet; leave it out/,
  },
  {
    what: 'a JSON schema, which the model cannot hold to',
    ask: chat({
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'answer', schema: { type: 'object' } },
      },
    }),
    status: 400,
    code: 'unsupported_feature',
    param: 'response_format',
    says: /'json_schema', which no node that serves 'words' has .*Leave it out, or choose another model/,
  },
  {
    what: 'context overflow',
    ask: chat({ messages: [{ role: 'user', content: 'word '.repeat(300) }] }),
    status: 400,
    code: 'context_length_exceeded',
    param: 'messages',
    says: /maximum context length is 256 tokens, and the prompt has 301\. Shorten it/,
  },
  {
    what: 'preferences that exclude every node',
    ask: chat({ provider: { region: ['mars'] } }),
    status: 503,
    code: 'no_matching_node',
    param: 'provider',
    says: /1 of 1 .*Relax one of these/,
  },
  {
    what: 'a body that is not JSON',
    ask: raw('{"model": "words", "messages": [}'),
    status: 400,
    code: 'invalid_json',
    says: /not valid JSON: unexpected '}'/,
  },
  {
    what: 'a body that is not UTF-8',
    ask: raw(Buffer.from([0x7b, 0xff, 0x7d])),
    status: 400,
    code: 'invalid_json',
    says: /not valid UTF-8/,
  },
  {
    what: 'a body that is no object',
    ask: raw('[]'),
    status: 400,
    code: 'invalid_value',
    says: /must be a JSON object/,
  },
  {
    what: 'a body too large',
    ask: raw(Buffer.alloc(MAX_BODY_BYTES + 1, ' ')),
    status: 413,
    code: 'request_too_large',
    says: /is 8388609 bytes; the limit is 8388608 bytes\. Send less, or split it/,
  },
  {
    what: 'a wrong method',
    ask: (network, key) => network.get(CHAT, key),
    status: 405,
    code: 'method_not_allowed',
    says: /GET is not offered at \/v1\/chat\/completions; it takes POST/,
    headers: { allow: /^POST, OPTIONS$/ },
  },
  {
    what: 'an unknown route',
    ask: (network, key) => network.post('/v1/chat/completion', hello, { key }),
    status: 404,
    code: 'not_found',
    says: /Nothing is at \/v1\/chat\/completion\. Did you mean \/v1\/chat\/completions/,
  },
  {
    what: 'no key',
    ask: authorized(''),
    status: 401,
    code: 'missing_api_key',
    says: /send the header 'Authorization: Bearer <key>'/,
    headers: { 'www-authenticate': /^Bearer/ },
  },
  {
    what: 'a key without Bearer',
    ask: authorized('sk-bl-forgotten'),
    status: 401,
    code: 'invalid_api_key',
    says: /'Authorization' does not read 'Bearer <key>'/,
  },
  {
    what: 'wrong key',
    ask: authorized('Bearer sk-bl-wrong'),
    status: 401,
    code: 'invalid_api_key',
    says: /not known here\. Check it, or make one/,
  },
  {
    what: 'revoked key',
    ask: async (network, _key, account) => {
      const { key, id } = await network.newKey(account)
      await network.store.revokeKey(account, id)
      return network.post(CHAT, hello, { key })
    },
    status: 401,
    code: 'revoked_api_key',
    says: /sk-bl-\S+… was revoked on \d{4}-\d\d-\d\d\. Make a new one: POST \/v1\/keys/,
  },
  {
    what: 'expired key',
    ask: withKey({ expiresAt: 1_700_000_000_000 }),
    status: 401,
    code: 'expired_api_key',
    says: /sk-bl-\S+… expired on 2023-11-14\. Make a new one/,
  },
  {
    what: 'a key without the scope',
    ask: withKey({ scopes: ['account'] }),
    status: 403,
    code: 'scope_missing',
    says: /no scope 'inference'; it has account\. Use a key with that scope/,
  },
  {
    what: "over the key's budget",
    ask: withKey({ budgetNanoUsd: 1n }),
    status: 402,
    code: 'key_budget_exceeded',
    says: /\$0\.000000001/,
  },
  {
    what: 'over the balance',
    ask: async (network) => {
      const { key } = await network.newKey(await network.newTenant(10n))
      return network.post(CHAT, hello, { key })
    },
    status: 402,
    code: 'insufficient_balance',
    says: /\$0\.00000001\b/,
  },
  {
    what: 'over the rate limit',
    ask: async (network, _key, account) => {
      const limits = { ...NO_LIMITS, requestsPerMinute: 1 }
      const { key } = await network.newKey(account, { limits })
      await network.post(CHAT, { ...hello, model: 'wordz' }, { key })
      return network.post(CHAT, hello, { key })
    },
    status: 429,
    code: 'rate_limit_exceeded',
    says: /limit is 1 requests a minute; 0 are left and the request takes 1\. Try again in \d+ s/,
    headers: { 'retry-after': /^(60|[1-5]\d)$/, 'x-ratelimit-remaining-requests': /^0$/ },
  },
]

describe('bad input over HTTP', limit, () => {
  it('is answered with what is wrong and what to do, and costs nothing', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 1 })
    const accounts: string[] = []
    for (const line of LINES)
      await t.test(line.what, async () => {
        const account = await network.newTenant(CREDIT)
        accounts.push(account)
        const { key } = await network.newKey(account)
        const response = await line.ask(network, key, account)
        const { error } = await answerOf(response)
        assert.deepEqual(
          [response.status, error.code, error.param],
          [line.status, line.code, line.param ?? null],
        )
        assert.match(error.message, line.says)
        assert.match(response.headers.get('x-request-id') ?? '', /^req_/)
        for (const [name, value] of Object.entries(line.headers ?? {}))
          assert.match(response.headers.get(name) ?? '', value, name)
      })
    assert.equal(accounts.length, LINES.length)
    // A leaving gateway gives its holds back: what is then held or gone would have been charged.
    await network.gateway.close()
    for (const account of accounts) {
      assert.deepEqual(await network.store.balance(tenantLedger(account)), {
        balanceNanoUsd: CREDIT,
        heldNanoUsd: 0n,
      })
      assert.deepEqual(await network.store.recentUsage(account, 1), [])
    }
  })
})

const LINK_LINES: readonly {
  readonly what: string
  readonly spoil: (hello: Hello) => Hello
  readonly status: number
  readonly code: string
  readonly says: RegExp
}[] = [
  {
    what: 'node key mismatch',
    spoil: (said) => ({ ...said, node: ephemeralIdentity('node').id }),
    status: 4401,
    code: 'link_key_mismatch',
    says: /the key belongs to node_\w+, the node calls itself node_\w+; give the node its own key file/,
  },
  {
    what: 'wrong protocol version',
    spoil: (said) => ({ ...said, version: 99 }),
    status: 4426,
    code: 'link_version_unsupported',
    says: /the node speaks link version 99, this gateway 1; update the older one/,
  },
  {
    what: 'clock skew',
    spoil: (said) => ({ ...said, nowMs: said.nowMs - MAX_CLOCK_SKEW_MS - 1_000 }),
    status: 4403,
    code: 'link_clock_skew',
    says: /node's clock says \d{4}-\S+, the gateway's \d{4}-\S+: 6\d{4} ms apart, limit 60000; set the node's clock/,
  },
]

describe('bad input over the link', limit, () => {
  it('is refused with what is wrong and what to do, and links nobody', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 0 })
    const port = Number(new URL(network.url).port)
    for (const line of LINK_LINES)
      await t.test(line.what, async () => {
        const peer = await helloRaw({ port }, ephemeralIdentity('node'), line.spoil)
        const { status, text } = await peer.closed
        assert.equal(status, line.status)
        assert.ok(text.startsWith(`${line.code}: `), text)
        const refused = peer.frames.all.find(({ type }) => type === FRAME.REFUSED)
        assert.ok(refused)
        const whole: { code: string; message: string } = JSON.parse(refused.payload.toString())
        assert.equal(whole.code, line.code)
        assert.match(whole.message, line.says)
      })
    const { data } = await answerOf(await network.get('/v1/network/nodes'))
    assert.deepEqual(data, [])
  })
})
