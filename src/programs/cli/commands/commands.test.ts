import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { leafHash, merkleRoot } from '../../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptText,
  type ProvenReceipt,
  type Receipt,
} from '../../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, sha256Hex } from '../../../io/keys/identity.ts'
import { sendJson, setup } from '../fake-shell.ts'
import { EXIT } from '../shell/failure.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload chat', TIMEOUT, () => {
  it(
    'asks the first model, and says which node answered, how much, and the price',
    TIMEOUT,
    async () => {
      const { run, listen, close } = setup()
      const asked: unknown[] = []
      const url = await listen(fakeGateway(asked))
      const { code, out, err } = await run('chat', 'Who goes there?', '--url', url, '--seed', '7')
      assert.equal(code, EXIT.ok)
      assert.equal(out, 'A friend.\n')
      assert.match(err, /^node_a → node_b · 3 tokens · .*\$0\.00000015\n$/)
      assert.deepEqual(asked, [
        {
          model: 'bard-3m',
          messages: [{ role: 'user', content: 'Who goes there?' }],
          seed: 7,
          stream: true,
          stream_options: { include_usage: true },
        },
      ])
      close()
    },
  )

  it('gives the same to programs as one JSON value', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen(fakeGateway([]))
    const { out, err } = await run('chat', 'Who?', '--url', url, '--model', 'other', '--json')
    const { tokens_per_s: _, ...reply } = JSON.parse(out)
    assert.deepEqual(reply, {
      text: 'A friend.',
      model: 'bard-3m',
      nodes: ['node_a', 'node_b'],
      receipts: ['rcpt_1', 'rcpt_2'],
      output_tokens: 3,
      price_nano_usd: '150',
    })
    assert.equal(err, '')
    close()
  })

  it('ends with 4 when the answer breaks off', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(event({ choices: [{ delta: { content: 'A fr' } }] }))
    })
    const { code, out, err } = await run('chat', 'Who?', '--url', url, '--model', 'm')
    assert.equal(code, EXIT.unreachable)
    assert.equal(out, 'A fr')
    assert.match(err, /broke off before its end/)
    close()
  })

  it('ends with 3 when the gateway reports an error in the stream', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(event({ error: { message: 'All nodes are gone.', code: 'no_node_available' } }))
    })
    const { code, err } = await run('chat', 'Who?', '--url', url, '--model', 'm')
    assert.equal(code, EXIT.refused)
    assert.match(err, /All nodes are gone/)
    close()
  })
})

describe('baseload receipts', TIMEOUT, () => {
  it('checks a file offline, with the request at hand', TIMEOUT, async () => {
    const { run, home, close } = setup()
    const file = join(home, 'receipt.json')
    const request = join(home, 'request.json')
    writeFileSync(request, '{"model":"bard-3m"}')
    writeFileSync(file, JSON.stringify(provenReceipt({})))
    const { code, out } = await run('receipts', 'verify', file, '--request', request)
    assert.equal(code, EXIT.ok, out)
    assert.match(out, /✓ {2}signature/)
    assert.match(out, /✓ {2}request/)
    assert.match(out, /The receipt holds\./)
    close()
  })

  it('ends with 1 for a receipt that was changed after it was signed', TIMEOUT, async () => {
    const { run, home, close } = setup()
    const file = join(home, 'receipt.json')
    const proven = provenReceipt({})
    writeFileSync(
      file,
      JSON.stringify({ ...proven, receipt: { ...proven.receipt, outputTokens: 4 } }),
    )
    const { code, out, err } = await run('receipts', 'verify', file)
    assert.equal(code, EXIT.failure)
    assert.match(out, /✗ {2}signature/)
    assert.match(err, /1 of 1 receipts do not hold/)
    close()
  })

  it('fetches by id what is no file, all receipts of a request', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const asked: unknown[] = []
    const url = await listen((request, response) => {
      asked.push(request.url)
      const data = [provenReceipt({}), provenReceipt({ firstToken: 3 })]
      sendJson(response, 200, { object: 'list', data, has_more: false })
    })
    const { code, out } = await run('receipts', 'verify', 'req_0123456789', '--url', url, '--json')
    assert.equal(code, EXIT.ok)
    assert.deepEqual(asked, ['/v1/receipts/req_0123456789'])
    assert.equal(out.trim().split('\n').length, 2)
    assert.equal((await run('receipts', 'verify', 'nothing', '--url', url)).code, EXIT.usage)
    close()
  })

  it('says what is wrong with a file that holds no receipt', TIMEOUT, async () => {
    const { run, home, close } = setup()
    const file = join(home, 'receipt.json')
    for (const text of ['{"receipt": {}}', 'not JSON', '[]']) {
      writeFileSync(file, text)
      const { code, err } = await run('receipts', 'verify', file)
      assert.equal(code, EXIT.failure, text)
      assert.match(err, /receipt/)
    }
    close()
  })
})

describe('baseload models, network, keys, account', TIMEOUT, () => {
  it('lists models with the best price that some node offers', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const nodes = [node('node_1', '0.05', 4), node('node_2', '0.04', 0)]
    const url = await listen((_, response) =>
      sendJson(response, 200, { object: 'list', data: nodes, has_more: false }),
    )
    const { out } = await run('models', '--url', url)
    assert.match(out, /^bard-3m +2 +4\/8 +512 +0\.02 +0\.04$/m)
    const json = JSON.parse((await run('models', '--url', url, '--json')).out)
    assert.equal(json.models[0].free_slots, 4)
    close()
  })

  it('prints only the new key to standard output', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const bodies: unknown[] = []
    const url = await listen(async (request, response) => {
      bodies.push(JSON.parse(await readAll(request)))
      const usd = { nano_usd: '0', usd: '0.00' }
      const about = {
        hint: 'sk-bl-abcd',
        status: 'active',
        spent: usd,
        budget: null,
        expires_at: null,
      }
      sendJson(response, 201, {
        id: 'key_1',
        name: 'ci',
        scopes: ['inference'],
        secret: 'sk-bl-abcdef',
        ...about,
      })
    })
    const { out, err } = await run(
      'keys',
      'create',
      'ci',
      '--budget-usd',
      '1.00',
      '--concurrency',
      '2',
      '--url',
      url,
    )
    assert.equal(out, 'sk-bl-abcdef\n')
    assert.match(err, /key_1/)
    assert.deepEqual(bodies, [{ name: 'ci', limits: { concurrency: 2 }, budget_usd: '1.00' }])
    close()
  })
})

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** Answers "A friend." from two nodes, as the real gateway would. */
const fakeGateway =
  (asked: unknown[]) => async (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/v1/models') return sendJson(response, 200, { data: [{ id: 'bard-3m' }] })
    asked.push(JSON.parse(await readAll(request)))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const content of ['A', ' fri', 'end.'])
      response.write(event({ model: 'bard-3m', choices: [{ delta: { content } }] }))
    const attempts = [
      { node: 'node_a', tokens: 1, receipt: 'rcpt_1', outcome: 'lost' },
      { node: 'node_c', tokens: 0, outcome: 'busy' },
      { node: 'node_b', tokens: 2, receipt: 'rcpt_2', outcome: 'ok' },
    ]
    const usage = { prompt_tokens: 4, completion_tokens: 3, total_tokens: 7 }
    const baseload = { attempts, price_nano_usd: '150', price_usd: '0.00000015', saving: null }
    response.write(event({ model: 'bard-3m', choices: [], usage, baseload }))
    response.end('data: [DONE]\n\n')
  }

const node = (id: string, outputPrice: string, free: number) => ({
  id,
  tier: 'community',
  region: null,
  provider: null,
  uptime: 1,
  draining: false,
  models: [
    {
      model: 'bard-3m',
      context_tokens: 512,
      input_usd_per_mtok: '0.02',
      output_usd_per_mtok: outputPrice,
      slots: 4,
      free_slots: free,
      tokens_per_second: 60.5,
      cooldown: null,
    },
  ],
})

/** A receipt for the request `{"model":"bard-3m"}`, alone in its batch, really signed. */
function provenReceipt(change: Partial<Receipt>): ProvenReceipt {
  const identity = ephemeralIdentity('node')
  const receipt: Receipt = {
    v: 1,
    id: 'rcpt_0123456789',
    attempt: 'att_0123456789',
    request: 'req_0123456789',
    gateway: 'gw_0123456789',
    node: identity.id,
    nodeKey: identity.publicKey,
    api: 'chat',
    model: 'bard-3m',
    modelDigest: `sha256:${'0'.repeat(64)}`,
    engine: 'llama.cpp/3.22.1',
    requestHash: sha256Hex('{"model":"bard-3m"}'),
    outputHash: sha256Hex(''),
    textHash: sha256Hex('A friend.'),
    choice: 0,
    seed: 7,
    firstToken: 0,
    inputTokens: 4,
    billedInputTokens: 4,
    outputTokens: 3,
    finish: 'stop',
    startedAtMs: 1_000,
    finishedAtMs: 1_500,
    inputNanoUsdPerMTok: '20000000',
    outputNanoUsdPerMTok: '50000000',
    carryIn: 0,
    carryOut: 0,
    nanoUsd: '230',
    previous: NO_PREVIOUS,
    ...change,
  }
  const root = merkleRoot([leafHash(Buffer.from(receiptText(receipt)), sha256)], sha256)
  const signed = batchText(Buffer.from(root).toString('hex'), 1, 1_600)
  const signature = identity.sign(RECEIPT_DOMAIN, signed)
  return { receipt, proof: { signedAtMs: 1_600, signature, leafIndex: 0, leafCount: 1, path: [] } }
}
