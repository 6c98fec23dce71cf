/** A whole request over a real connection, with nodes that do what the test says: what the tenant sees and pays. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { refuse } from '../../core/base/refusal.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import type { Traits } from '../../core/routing/test-replicas.ts'
import { EmbeddingExchange } from './embedding-exchange.ts'
import { Exchange } from './exchange.ts'
import type { Outcome } from './inference.ts'
import { aDispatch, aKey, aRequest, turn, type FakeStream } from './test-kit.ts'

const limit = { timeout: 10_000 }
const stream = { stream: true, temperature: 0 }

describe('exchange', limit, () => {
  it('answers whole, with the bill in headers and body', limit, async (t) => {
    const net = await setup(t)
    const response = net.ask()
    ;(await net.sent(1)).say('a', 'b').end('stop', 7)
    const { status, headers, json } = await whole(response)
    assert.deepEqual([status, headers.get('x-baseload-attempts')], [200, '1'])
    const { choices, usage } = json()
    assert.equal(choices[0].message.content, 'ab')
    assert.deepEqual(usage, { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 })
    net.onceOver('ok')
  })

  it('streams as it comes, and ends with usage, bill and [DONE]', limit, async (t) => {
    const net = await setup(t, { ...stream, stream_options: { include_usage: true } })
    const response = net.ask()
    const node = await net.sent(1)
    node.say('a')
    assert.equal((await response).headers.get('x-baseload-node'), node.node)
    node.say('b').end('stop', 7)
    const events = (await whole(response)).events()
    assert.equal(events.at(-1), '[DONE]')
    const last = JSON.parse(events.at(-2) ?? '')
    assert.deepEqual([last.choices, last.usage.total_tokens], [[], 9])
    assert.equal(last.baseload.attempts.length, 1)
    net.onceOver('ok')
  })

  it('shows structured output when it is whole', limit, async (t) => {
    const net = await setup(
      t,
      { ...stream, response_format: { type: 'json_object' } },
      { nodes: [{ capabilities: ['chat', 'json_object'] }] },
    )
    const response = net.ask()
    ;(await net.sent(1)).say('{', '}').end()
    const texts = contents((await whole(response)).events())
    assert.deepEqual(texts, ['', '{}'])
    net.onceOver('ok')
  })

  it('is an HTTP status as long as nothing was sent', limit, async (t) => {
    const net = await setup(t, stream)
    const response = net.ask()
    ;(await net.sent(1)).error('context_length_exceeded', false)
    const { status, json } = await whole(response)
    assert.deepEqual([status, json().error.code], [400, 'context_length_exceeded'])
    net.onceOver('context_length_exceeded')
  })

  it('is an error event without [DONE] once something was sent', limit, async (t) => {
    const net = await setup(t, { ...stream, n: 2 })
    const response = net.ask()
    const [one, other] = [await net.sent(1), await net.sent(2)]
    one.say('a')
    other.say('b')
    one.error('context_length_exceeded', false)
    const events = (await whole(response)).events()
    assert.equal(JSON.parse(events.at(-1) ?? '').error.code, 'context_length_exceeded')
    assert.ok(other.cancelled)
    other.end('cancelled', 7)
    assert.equal(net.desk.paid.length, 2)
    net.onceOver('context_length_exceeded')
  })

  it('charges nothing of a whole answer when one of its choices fails', limit, async (t) => {
    const net = await setup(t, { n: 2 })
    const response = net.ask()
    const [one, other] = [await net.sent(1), await net.sent(2)]
    one.say('a').end()
    other.error('context_length_exceeded', false)
    assert.equal((await whole(response)).status, 400)
    assert.deepEqual(net.desk.paid, [])
    net.onceOver('context_length_exceeded')
  })

  it('sends nothing more when the first of several choices is refused', limit, async (t) => {
    const net = await setup(t, { n: 3 })
    net.meter.instead.push(refuse('insufficient_balance', 'There is no money.'))
    assert.equal((await whole(net.ask())).status, 402)
    assert.equal(net.dispatch.sent.length, 0)
    net.onceOver('insufficient_balance')
  })

  it('numbers the choices of several prompts: prompt × n + i', limit, async (t) => {
    const net = await setup(
      t,
      { prompt: ['x', 'y'], n: 2 },
      { api: 'completion', nodes: [{ capabilities: ['completion'] }] },
    )
    const response = net.ask()
    for (let i = 1; i <= 4; i++) (await net.sent(i)).say(`${i}`).end('length', 3)
    const { choices, usage } = (await whole(response)).json()
    assert.deepEqual(
      choices.map(({ index, text }: { index: number; text: string }) => [index, text]),
      [0, 1, 2, 3].map((index) => [index, `${index + 1}`]),
    )
    assert.equal(usage.prompt_tokens, 6)
    net.onceOver('ok')
  })

  it('stops the nodes when the tenant leaves, and tells so once', limit, async (t) => {
    const net = await setup(t, { ...stream, n: 2 })
    const leave = new AbortController()
    const response = net.ask(leave.signal)
    const [one, other] = [await net.sent(1), await net.sent(2)]
    one.say('a')
    await response
    leave.abort()
    await until(() => net.outcomes.length > 0)
    assert.ok(one.cancelled && other.cancelled)
    one.end('cancelled', 7)
    other.end('cancelled', 7)
    net.onceOver('gone')
  })

  it('leaves the queue when the tenant leaves it', limit, async (t) => {
    const net = await setup(t, stream, { nodes: [{ slots: 1 }], full: true })
    const leave = new AbortController()
    const response = net.ask(leave.signal)
    await until(() => net.dispatch.dispatcher.room.size === 1)
    leave.abort()
    await assert.rejects(response)
    await until(() => net.outcomes.length > 0)
    net.onceOver('gone')
  })

  it('stops the nodes of a pipelined request when its connection closes', limit, async (t) => {
    const net = await setup(t, stream)
    const socket = connect(net.port, '127.0.0.1')
    const post = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n'
    socket.write(post + post)
    const [one, other] = [await net.sent(1), await net.sent(2)]
    socket.destroy()
    await until(() => net.outcomes.length === 2)
    assert.ok(one.cancelled && other.cancelled)
    one.end('cancelled', 0)
    other.end('cancelled', 0)
    assert.deepEqual(net.outcomes.map(kindOf), ['gone', 'gone'])
    net.dispatch.nothingIsLeft()
  })

  it(
    'gives no credit while the tenant does not read, and cuts it off only when it never does',
    limit,
    async (t) => {
      const net = await setup(t, stream)
      const socket = connect(net.port, '127.0.0.1').pause()
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n')
      const node = await net.sent(1)
      node.say('x')
      await turn()
      let sentBytes = 9
      while (node.grantedBytes === sentBytes) {
        node.say('x'.repeat(60_000))
        sentBytes += 60_008
        await turn()
      }
      const granted = node.grantedBytes
      net.dispatch.clock.pass(59_000)
      assert.equal(node.cancelled, false)
      net.dispatch.clock.pass(2_000)
      await until(() => node.cancelled)
      node.end('cancelled', 7)
      assert.ok(granted < sentBytes)
      socket.destroy()
      net.onceOver('gone')
    },
  )

  it(
    'keeps what a slow tenant is still to get, the end included, until it reads',
    limit,
    async (t) => {
      const net = await setup(t, stream)
      const socket = connect(net.port, '127.0.0.1').pause()
      socket.write('POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      const node = await net.sent(1)
      let sentBytes = 0
      do {
        node.say('x'.repeat(60_000))
        sentBytes += 60_008
        await turn()
      } while (node.grantedBytes === sentBytes)
      node.say('y', 'z').end()
      await turn()
      assert.deepEqual(net.outcomes, [])
      let got = ''
      socket.setEncoding('latin1').on('data', (data: string) => (got += data))
      socket.resume()
      await new Promise((resolve) => socket.once('close', resolve))
      const texts = [...got.matchAll(/"content":"([xyz]+)"/g)].map(([, text = '']) => text)
      assert.equal(texts.join('').length, Math.round(sentBytes / 60_008) * 60_000 + 2)
      assert.deepEqual(texts.slice(-2), ['y', 'z'])
      assert.match(got, /"finish_reason":"stop".*data: \[DONE\]/s)
      net.onceOver('ok')
    },
  )

  it('goes on after a burst that the kernel took at once', limit, async (t) => {
    const net = await setup(t, stream)
    const response = net.ask()
    const node = await net.sent(1)
    const reading = whole(response)
    // More in one turn than a slow tenant leaves unread, in pieces: the last ones wait.
    for (let i = 0; i < 10; i++) node.say('x'.repeat(9_992))
    await until(() => node.grantedBytes === 100_000)
    node.say('y').end()
    assert.equal(contents((await reading).events()).join('').length, 10 * 9_992 + 1)
    net.onceOver('ok')
  })

  it('gives the credit back when the tenant has read', limit, async (t) => {
    const net = await setup(t, stream)
    const response = net.ask()
    const node = await net.sent(1)
    node.say('x')
    const reading = whole(response)
    let sentBytes = 9
    for (let i = 0; i < 50; i++) {
      node.say('x'.repeat(60_000))
      sentBytes += 60_008
      await turn()
    }
    await until(() => node.grantedBytes === sentBytes)
    node.end()
    assert.equal(contents((await reading).events()).join('').length, 50 * 60_000 + 1)
    net.onceOver('ok')
  })
})

describe('embedding exchange', limit, () => {
  const embedding = { api: 'embedding', nodes: [{ capabilities: ['embedding'] }] } as const

  it('answers in the order of the inputs, as numbers or as base64', limit, async (t) => {
    const net = await setup(t, {}, { ...embedding, nodes: [...embedding.nodes] })
    const response = net.ask()
    ;(await net.sent(1)).vector(1, 3, 4).vector(0, 1, 2).end('stop', 5)
    const { data, usage } = (await whole(response)).json()
    assert.deepEqual(
      data.map((one: { embedding: number[] }) => one.embedding),
      [
        [1, 2],
        [3, 4],
      ],
    )
    assert.deepEqual(usage, { prompt_tokens: 5, total_tokens: 5 })
    net.onceOver('ok')
  })

  it('stops the node when the tenant leaves', limit, async (t) => {
    const net = await setup(t, {}, { ...embedding, nodes: [...embedding.nodes] })
    const leave = new AbortController()
    const response = net.ask(leave.signal)
    const node = await net.sent(1)
    leave.abort()
    await assert.rejects(response)
    await until(() => node.cancelled)
    node.end('cancelled', 0)
    net.onceOver('gone')
  })
})

const kindOf = ({ refusal, gone }: Outcome): string => (gone ? 'gone' : (refusal?.code ?? 'ok'))

async function whole(asked: Promise<Response>) {
  const response = await asked
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    json: () => JSON.parse(text),
    events: () =>
      text
        .split('\n\n')
        .filter((event) => event !== '')
        .map((event) => event.replace(/^data: /, '')),
  }
}

/** The text of each event that has some, or is meant to have. */
const contents = (events: readonly string[]): string[] =>
  events
    .filter((event) => event.startsWith('{'))
    .map((event) => JSON.parse(event).choices[0]?.delta?.content)
    .filter((text) => text !== undefined)

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

/** A server for one kind of request. */
async function setup(
  t: TestContext,
  request: Record<string, unknown> = {},
  {
    api = 'chat',
    nodes = [{}, {}],
    full = false,
  }: { api?: Api; nodes?: Traits[]; full?: boolean } = {},
) {
  const dispatch = aDispatch(t, { nodes })
  if (full) for (const replica of dispatch.replicas) replica.othersBusy = 99
  const outcomes: Outcome[] = []
  const server = createServer((_req, response) => {
    const parsed = aRequest(request, api)
    const admitted = {
      dispatcher: dispatch.dispatcher,
      requestId: 'req_1',
      body: Buffer.from('{"a":"body that is no shorter than its tokens"}'),
      key: aKey(),
      affinity: null,
      seed: 1,
      response,
      headers: [],
      tokenIds: false,
      startedAt: dispatch.clock.now(),
      listPrices: new Map(),
      payment: null,
      over: (outcome: Outcome) => void outcomes.push(outcome),
    }
    if (parsed.api === 'embedding') new EmbeddingExchange(admitted, parsed).start()
    else new Exchange(admitted, parsed).start()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close().closeAllConnections())
  const { port } = server.address() as AddressInfo
  return {
    dispatch,
    port,
    outcomes,
    desk: dispatch.desk,
    meter: dispatch.meter,
    ask: (signal?: AbortSignal) =>
      fetch(`http://127.0.0.1:${port}`, { method: 'POST', ...(signal && { signal }) }),
    /** The nth attempt, once it was sent. */
    sent: async (n: number): Promise<FakeStream> => {
      await until(() => dispatch.sent.length >= n)
      const found = dispatch.sent[n - 1]
      assert.ok(found)
      return found
    },
    /** It was told once that it is over, how, and nothing of it is left. */
    onceOver: (how: string): void => {
      assert.deepEqual(outcomes.map(kindOf), [how])
      dispatch.nothingIsLeft()
    },
  }
}
