import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { FRAME, INITIAL_CREDIT_BYTES, MAX_FRAME_PAYLOAD_BYTES } from '../../core/protocol/frame.ts'
import type { ReceiptBatch } from '../../core/protocol/receipt.ts'
import { encodeTokenChunks } from '../../core/protocol/token-chunk.ts'
import { Hearing, headerOf, linkRaw, startGateway, startNode } from './test-kit.ts'

const timeout = 60_000
const chunk = (text: string, id = 1) => ({ id, text, logprob: '' })
const done = (outputTokens: number) => ({ finish: 'stop', inputTokens: 1, outputTokens }) as const
const problem = { code: 'engine_failed', message: 'it broke', param: null, retryable: true }

describe('attempts on a link', { timeout }, () => {
  it('carry header, body, tokens and end, in order', async (t) => {
    const { link, node } = await setup(t)
    const body = Buffer.from('{"messages":[]}')
    const heard = new Hearing()
    link.open(headerOf('att_1', body), body, heard)
    const [attempt] = await node.attempts.count(1)
    assert.deepEqual(attempt?.header, headerOf('att_1', body))
    assert.equal(attempt?.body.toString(), body.toString())
    void attempt?.tokens([chunk('Grüß '), chunk('dich')])
    void attempt?.tokens([chunk('!')])
    attempt?.end(done(3))
    void attempt?.tokens([chunk('too late')])
    attempt?.error(problem)
    assert.equal(await heard.over(), 'end stop 3')
    assert.equal(heard.text, 'Grüß dich!')
    assert.deepEqual(heard.journal.all, ['accepted', 'tokens', 'tokens', 'end stop 3'])
  })

  it('may be busy or fail', async (t) => {
    const { link, node } = await setup(t)
    const body = new Uint8Array(0)
    const [busy, failed] = [new Hearing(), new Hearing()]
    link.open(headerOf('att_1', body), body, busy)
    link.open(headerOf('att_2', body), body, failed)
    const [first, second] = await node.attempts.count(2)
    first?.busy({ ...problem, message: 'x'.repeat(5_000) })
    second?.accept()
    second?.busy(problem) // too late: it was accepted
    second?.error(problem)
    assert.equal(await busy.over(), 'busy engine_failed')
    assert.equal(await failed.over(), 'error engine_failed')
    assert.deepEqual(failed.journal.all, ['accepted', 'error engine_failed'])
  })

  it('carry vectors as they are', async (t) => {
    const { link, node } = await setup(t)
    const heard = new Hearing()
    link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    const vector = Float32Array.from([0.25, -1e-9, 3e8])
    await attempt?.vector(7, vector)
    attempt?.end(done(0))
    await heard.over()
    assert.deepEqual(heard.vectors, [{ index: 7, vector }])
    assert.throws(() => attempt?.vector(0, new Float32Array(20_000)) ?? assert.fail('sent'), /sent/)
  })

  it('carry bodies and resume texts of megabytes, while small requests pass them by', async (t) => {
    const { link, node } = await setup(t)
    const large = Buffer.alloc(8 * 1024 * 1024, 'large')
    const small = Buffer.from('small')
    const resume = {
      tokenIds: Array.from({ length: 100_000 }, (_, i) => i),
      text: 'é'.repeat(100_000),
    }
    link.open({ ...headerOf('att_large', large), resume }, large, new Hearing())
    link.open(headerOf('att_large2', large), large, new Hearing())
    await turn()
    link.open(headerOf('att_small', small), small, new Hearing())
    const attempts = await node.attempts.count(3)
    assert.equal(attempts[0]?.header.attempt, 'att_small')
    const whole = attempts.find(({ header }) => header.attempt === 'att_large')
    assert.deepEqual(whole?.header.resume, resume)
    assert.ok(large.equals(whole?.body ?? new Uint8Array(0)))
  })

  it('stop when cancelled, having sent what was produced', async (t) => {
    const { link, node } = await setup(t)
    const heard = new Hearing()
    const stream = link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    assert.ok(attempt)
    const aborted = new Promise((resolve) => attempt.signal.addEventListener('abort', resolve))
    const produced = 3 * INITIAL_CREDIT_BYTES
    const sent = attempt.tokens([...pieces(produced)])
    await heard.journal.find((entry) => entry === 'tokens')
    stream.cancel()
    await aborted
    assert.equal(attempt.cancelled, true)
    await sent
    attempt.end({ finish: 'cancelled', inputTokens: 1, outputTokens: 9 })
    assert.equal(await heard.over(), 'end cancelled 9')
    assert.equal(heard.text.length, produced)
    stream.cancel() // over already: nothing happens
  })

  it('stop half way through their body when cancelled', async (t) => {
    const { gateway, link, node } = await setup(t)
    const body = Buffer.alloc(8 * 1024 * 1024)
    const heard = new Hearing()
    const stream = link.open(headerOf('att_1', body), body, heard)
    await turn()
    stream.cancel()
    assert.equal(await heard.over(), 'error cancelled')
    assert.equal(node.attempts.all.length, 0)
    assert.equal(gateway.server.links().size, 1)
  })

  it('can be forgotten: late frames are ignored', async (t) => {
    const { gateway, link, node } = await setup(t)
    const heard = new Hearing()
    const stream = link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    stream.forget()
    void attempt?.tokens([chunk('late')])
    attempt?.end(done(1))
    assert.equal(await link.ping(5_000), true)
    assert.deepEqual(heard.journal.all, [])
    assert.equal(gateway.server.links().size, 1)
  })

  it('split what is too large for a frame, and refuse a token that is', async (t) => {
    const { link, node } = await setup(t)
    const heard = new Hearing()
    const stream = link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    const text = 'ä'.repeat(30_000)
    void attempt?.tokens([chunk(text), chunk(text), chunk('b')])
    attempt?.end(done(3))
    await heard.over()
    assert.equal(heard.text, `${text}${text}b`)
    stream.grant(1)
    link.open(headerOf('att_2', new Uint8Array(0)), new Uint8Array(0), new Hearing())
    const [, second] = await node.attempts.count(2)
    const part = 'x'.repeat(MAX_FRAME_PAYLOAD_BYTES - 1)
    assert.throws(() => void second?.tokens([{ id: 1, text: part, logprob: part }]), RangeError)
  })

  it('lose everything with the link', async (t) => {
    const { link, node } = await setup(t)
    const heard = new Hearing()
    link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    const sent = attempt?.tokens([...pieces(2 * INITIAL_CREDIT_BYTES)])
    link.close('enough')
    assert.equal(await heard.over(), 'lost link_closed: enough')
    await sent
    assert.equal(attempt?.signal.aborted, true)
    assert.equal(attempt?.cancelled, false)
    const late = new Hearing()
    link.open(headerOf('att_2', new Uint8Array(0)), new Uint8Array(0), late)
    assert.equal(await late.over(), 'lost link_closed: enough')
    assert.equal(await link.ping(10), false)
  })
})

describe('credit', { timeout }, () => {
  it('stalls only the stream whose reader is slow', async (t) => {
    const { link, node } = await setup(t)
    const [slow, quick] = [new Hearing(), new Hearing()]
    const slowStream = link.open(headerOf('att_slow', new Uint8Array(0)), new Uint8Array(0), slow)
    const [attempt] = await node.attempts.count(1)
    const total = 4 * INITIAL_CREDIT_BYTES
    const sent = attempt?.tokens([...pieces(total)])
    assert.ok(sent instanceof Promise)
    attempt?.end(done(1))

    link.open(headerOf('att_quick', new Uint8Array(0)), new Uint8Array(0), quick)
    const [, other] = await node.attempts.count(2)
    void other?.tokens([chunk('quick')])
    other?.end(done(1))
    assert.equal(await quick.over(), 'end stop 1')
    assert.ok(slow.tokenBytes <= INITIAL_CREDIT_BYTES, `${slow.tokenBytes} bytes without a grant`)

    let granted = 0
    while (!slow.journal.all.includes('end stop 1')) {
      slowStream.grant(slow.tokenBytes - granted)
      granted = slow.tokenBytes
      await turn()
    }
    await sent
    assert.equal(slow.text.length, total)
  })

  it('is enforced: a node that sends beyond it is cut off, with the numbers', async (t) => {
    const gateway = await startGateway()
    t.after(() => gateway.close())
    const peer = await linkRaw(gateway)
    const heard = new Hearing()
    peer.link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const { stream } = await peer.frames.find(({ type }) => type === FRAME.REQUEST)
    peer.send(FRAME.ACCEPT, stream)
    const payload = encodeTokenChunks([chunk('x'.repeat(60_000))])
    for (let i = 0; i < 5; i++) peer.send(FRAME.TOKENS, stream, payload)
    const { text } = await peer.closed
    assert.match(
      text,
      /^link_malformed_frame: TOKENS of 60008 bytes on stream 1 is 37896 bytes over/,
    )
    assert.match(await heard.over(), /^lost link_malformed_frame/)
  })
})

describe('credit of vectors', { timeout }, () => {
  it('is granted back by their own length', async (t) => {
    const { link, node } = await setup(t)
    const heard = new Hearing()
    const stream = link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    heard.vector = (index, vector) => {
      heard.journal.add(`vector ${index}`)
      stream.grant(vector.byteLength)
    }
    const [attempt] = await node.attempts.count(1)
    const vector = new Float32Array(16_000)
    for (let i = 0; i < 50; i++) await attempt?.vector(i, vector)
    attempt?.end(done(0))
    assert.equal(await heard.over(), 'end stop 0')
    assert.equal(heard.journal.all.length, 52)
  })
})

describe('the link itself', { timeout }, () => {
  it('carries receipts up and acknowledgements down, coalesced', async (t) => {
    const { gateway, link, node } = await setup(t)
    const batch: ReceiptBatch = { signedAtMs: 1, signature: 's', receipts: ['{"a":1}', '{"b":2}'] }
    assert.equal(node.client.sendReceipts(batch), true)
    const { detail } = await gateway.events.find(({ kind }) => kind === 'receipts')
    assert.deepEqual(detail, batch)
    const ids = Array.from({ length: 1500 }, (_, i) => `rcpt_${i}`)
    for (const id of ids) link.acknowledge([id])
    const acknowledged = await node.acknowledged.count(2)
    assert.deepEqual(acknowledged.flat(), ids)
    assert.equal(acknowledged[0]?.length, 1024)
  })

  it('tells of new offers and of draining; a draining node is busy', async (t) => {
    const { gateway, link, node } = await setup(t)
    node.client.sendOffer()
    await gateway.events.find(({ kind }) => kind === 'offerChanged')
    assert.equal(link.offer.sequence, 2)
    node.client.drain()
    await gateway.events.find(({ kind }) => kind === 'draining')
    assert.equal(link.draining, true)
    const heard = new Hearing()
    link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    assert.equal(await heard.over(), 'busy node_busy')
  })

  it('answers pings, and says when none was answered', async (t) => {
    const { gateway, link } = await setup(t)
    assert.equal(await link.ping(5_000), true)
    const mute = await linkRaw(gateway)
    assert.equal(await mute.link.ping(20), false)
    mute.send(FRAME.PING, 0, Buffer.from('12345678'))
    const pong = await mute.frames.find(({ type }) => type === FRAME.PONG)
    assert.equal(pong.payload.toString(), '12345678')
  })

  it('closes when the node falls silent', async (t) => {
    const gateway = await startGateway({ limits: { heartbeatMs: 25 } })
    t.after(() => gateway.close())
    const peer = await linkRaw(gateway)
    assert.match((await peer.closed).text, /^link_timeout: node_\w+ was silent for \d+ ms/)
    assert.equal(gateway.server.links().size, 0)
  })

  it('stands as long as the node beats', async (t) => {
    const { gateway, node } = await setup(t, 100)
    await gateway.events.count(8)
    assert.deepEqual(node.unlinked.all, [])
  })

  it('is left by a node that closes', async (t) => {
    const { gateway, node } = await setup(t)
    await node.client.close()
    const { detail } = await gateway.events.find(({ kind }) => kind === 'unlinked')
    assert.equal(detail, 'link_closed: the node leaves')
    assert.equal(node.client.state, 'closed')
  })
})

/** One-frame chunks that hold so many characters in all. */
function* pieces(characters: number) {
  for (let left = characters; left > 0; left -= 16_000)
    yield chunk('y'.repeat(Math.min(left, 16_000)))
}

async function setup(t: { after(fn: () => Promise<void>): void }, heartbeatMs = 2_000) {
  const gateway = await startGateway({ limits: { heartbeatMs } })
  const node = startNode(gateway.url)
  t.after(async () => {
    await node.client.close()
    await gateway.close()
  })
  await node.linked.count(1)
  return { gateway, node, link: await gateway.linked(node.identity.id) }
}
