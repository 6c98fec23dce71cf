/** A node that proved its key and then lies: its attempt ends, the tenant is served by another, and pays only that. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { FRAME } from '../../src/core/protocol/frame.ts'
import { encodeTokenChunks } from '../../src/core/protocol/token-chunk.ts'
import { ephemeralIdentity } from '../../src/io/keys/identity.ts'
import { helloRaw, offerOf, signOffer, type RawPeer } from '../../src/io/link/test-kit.ts'
import { fakeModel } from '../../src/programs/node/fake-engine.ts'
import { answerOf, eventsOf, hello, smallNetwork, words } from '../support/small-network.ts'

const limit = { timeout: 60_000 }

type Lie = {
  readonly what: string
  readonly path?: string
  readonly body: object
  /** Said after ACCEPT. */
  readonly say: (peer: RawPeer, stream: number) => void
}

const chat = { ...hello, max_tokens: 12 }
const completion = { model: 'words', prompt: 'hello', max_tokens: 12 }
const token = (id: number, text: string, logprob = '') => encodeTokenChunks([{ id, text, logprob }])
const end = { finish: 'stop', inputTokens: 1, outputTokens: 1 }
const error = { message: 'no', param: null, retryable: false }
const vector = (index: number) => Buffer.from(Uint32Array.of(index, 0).buffer).swap32()

const LIES: readonly Lie[] = [
  {
    what: 'more tokens than were asked for',
    body: chat,
    say(peer, stream) {
      for (let i = 0; i < 13; i++) peer.send(FRAME.TOKENS, stream, token(i, 'x'))
      peer.send(FRAME.END, stream, end)
    },
  },
  {
    what: 'a text without end',
    body: { ...hello, max_tokens: 256 },
    say(peer, stream) {
      peer.send(FRAME.TOKENS, stream, token(0, 'the '))
      for (let i = 0; i < 4; i++) peer.send(FRAME.TOKENS, stream, token(0, 'x'.repeat(60_000)))
      peer.send(FRAME.TOKENS, stream, token(0, 'x'.repeat(60_000)))
    },
  },
  {
    what: 'a prompt longer than the request',
    body: chat,
    say(peer, stream) {
      words()
        .split(/(?<= )/)
        .forEach((word, i) => peer.send(FRAME.TOKENS, stream, token(i, word)))
      peer.send(FRAME.END, stream, { ...end, inputTokens: 1_000_000_000 })
    },
  },
  {
    what: 'a logprob that is none',
    path: '/v1/completions',
    body: { ...completion, logprobs: 1 },
    say: (peer, stream) => peer.send(FRAME.TOKENS, stream, token(0, 'the ', '{"token":')),
  },
  {
    what: 'a logprob that nobody asked for',
    path: '/v1/completions',
    body: { ...completion, stream: true },
    say(peer, stream) {
      peer.send(FRAME.TOKENS, stream, token(0, 'the ', '"}],"usage":{'))
      peer.ws.close()
    },
  },
  {
    what: "somebody else's error",
    body: chat,
    say: (peer, stream) => peer.send(FRAME.ERROR, stream, { ...error, code: 'missing_api_key' }),
  },
  {
    what: 'an error of the gateway',
    body: chat,
    say: (peer, stream) => peer.send(FRAME.ERROR, stream, { ...error, code: 'internal_error' }),
  },
  {
    what: 'tokens that cannot be read',
    body: chat,
    say: (peer, stream) => peer.send(FRAME.TOKENS, stream, Buffer.from([0, 0, 0, 1, 0xff, 0xff])),
  },
  {
    what: 'an embedding that nobody asked for',
    path: '/v1/embeddings',
    body: { model: 'words', input: ['a', 'bcd'] },
    say: (peer, stream) => peer.send(FRAME.VECTOR, stream, vector(4_000_000_000)),
  },
  {
    what: 'an embedding where a text was asked for',
    body: chat,
    say: (peer, stream) => peer.send(FRAME.VECTOR, stream, vector(0)),
  },
  {
    what: 'the same embedding again and again',
    path: '/v1/embeddings',
    body: { model: 'words', input: ['a', 'bcd'] },
    say(peer, stream) {
      for (let i = 0; i < 3; i++) peer.send(FRAME.VECTOR, stream, vector(0))
    },
  },
]

describe('a hostile node', limit, () => {
  it('harms nobody with its lies', limit, async (t) => {
    const network = await setup(t)
    for (const { what, path = '/v1/chat/completions', body, say } of LIES)
      await t.test(what, async () => {
        const liar = await linkLiar(network.url, say)
        const response = await network.post(path, { ...body, provider: { order: [liar] } })
        const answer = response.headers.get('content-type')?.startsWith('text/event-stream')
          ? JSON.parse((await eventsOf(response)).at(-2) ?? '')
          : await answerOf(response)
        assert.equal(response.status, 200, JSON.stringify(answer))
        const { attempts, price_nano_usd: price } = answer.baseload
        assert.equal(attempts[0]?.node, liar)
        // 12 tokens at $0.05 and a prompt of at most 256 at $0.02 per million, which is what was asked.
        assert.ok(BigInt(price) <= 12n * 50n + 256n * 20n, `${price} nano-dollars`)
        const next = await answerOf(await network.post('/v1/chat/completions', chat))
        assert.equal(next.choices[0]?.message.content, words())
      })
  })
})

/** A network whose honest node says that it can do all that the liars are asked for. */
async function setup(t: TestContext) {
  const network = await smallNetwork(t, { nodes: 1 })
  const [honest] = network.nodes
  assert.ok(honest)
  honest.engine.served = [{ ...fakeModel, capabilities: [...fakeModel.capabilities, 'logprobs'] }]
  await network.until('the node offers logprobs', async () =>
    (await (await network.get('/v1/models')).text()).includes('logprobs'),
  )
  return network
}

/** Links a node that accepts its first attempt, lies, and leaves when the gateway wants no more of it. */
async function linkLiar(url: string, say: Lie['say']): Promise<string> {
  const identity = ephemeralIdentity('node')
  const offer = offerOf(identity, 1)
  const { model, digest, engine, capabilities } = fakeModel
  const lies = {
    ...offer.models[0],
    model,
    digest,
    engine,
    capabilities: [...capabilities, 'logprobs'],
  }
  const peer = await helloRaw({ port: Number(new URL(url).port) }, identity, (said) => ({
    ...said,
    offer: signOffer(identity, { ...offer, models: [lies] }),
  }))
  await peer.frames.find(({ type }) => type === FRAME.WELCOME)
  void peer.frames
    .find(({ type }) => type === FRAME.REQUEST)
    .then(({ stream }) => {
      peer.send(FRAME.ACCEPT, stream)
      say(peer, stream)
    })
  void peer.frames.find(({ type }) => type === FRAME.CANCEL).then(() => peer.ws.close())
  return identity.id
}
