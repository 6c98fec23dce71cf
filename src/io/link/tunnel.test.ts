/** Tunnels over a real link: what whoever holds an end can rely on. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable, type Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Fault } from '../../core/base/refusal.ts'
import { TUNNEL_IDLE_MS, TUNNEL_TOTAL_MS } from '../../core/protocol/tunnel.ts'
import { setup, WEB } from './tunnel-kit.ts'
import { TunnelStream } from './tunnel-stream.ts'

const timeout = 60_000
const MIB = 1024 * 1024

describe('tunnel', { timeout }, () => {
  it('carries bytes both ways, and says what it is for', async (t) => {
    const { link, requests } = await setup(t)
    const opening = link.openTunnel(WEB)
    const [request] = await requests.count(1)
    assert.deepEqual(request?.purpose, WEB)
    const [near, far] = await Promise.all([opening, request?.accept()])
    assert.ok(far)
    far.pipe(far)
    near.end('hello')
    assert.equal(await text(near), 'hello')
  })

  it('ends one direction and goes on in the other', async (t) => {
    const { open } = await setup(t)
    const { near, far } = await open()
    near.end('question')
    assert.equal(await wholeText(far), 'question')
    assert.ok(far.writable)
    far.write('ans')
    far.end('wer')
    assert.equal(await wholeText(near), 'answer')
    if (!near.closed) await once(near, 'close')
    assert.ok(near.errored === null && far.errored === null)
  })

  it('keeps every byte of large and small writes in order', async (t) => {
    const { open } = await setup(t)
    const { near, far } = await open()
    const bytes = randomBytes(5 * MIB)
    const cuts = [0, 1, 2, 1000, 1001, 300_000, 4 * MIB, bytes.length]
    const parts = cuts.map((from, i) => bytes.subarray(from, cuts[i + 1] ?? from))
    const [back] = await Promise.all([
      sha256Of(near),
      pipeline(far, far),
      pipeline(Readable.from(parts), near, { end: true }).catch(() => {}),
    ])
    assert.equal(back, createHash('sha256').update(bytes).digest('hex'))
  })

  it('makes the writer wait for a slow reader, in bounded memory', async (t) => {
    const { open } = await setup(t)
    const { near, far } = await open()
    const piece = Buffer.alloc(64 * 1024, 'x')
    let written = 0
    while (await roomIn(far, piece)) {
      written += piece.length
      assert.ok(written < 64 * MIB, 'nothing ever waits')
    }
    assert.ok(far.writableLength <= 2 * piece.length)
    assert.ok(near.readableLength <= MIB, `${near.readableLength} bytes are held unread`)
    far.end()
    let read = 0
    for await (const chunk of near as AsyncIterable<Buffer>) read += chunk.length
    assert.equal(read, written + piece.length)
  })

  it('tells the other end why it was destroyed', async (t) => {
    const { open } = await setup(t)
    const { near, far } = await open()
    far.destroy(new Fault('port_refused', 'the service hung up'))
    const [error] = await once(near, 'error')
    assert.deepEqual(codeOf(error), ['port_refused', 'the service hung up'])
  })

  it('tells of an end that was dropped without a word', async (t) => {
    const { open } = await setup(t)
    const { near, far } = await open()
    near.destroy()
    const [error] = await once(far, 'error')
    assert.equal(codeOf(error)[0], 'tunnel_aborted')
  })

  it('outlives a link that breaks and returns', async (t) => {
    const { open, link, node, gateway } = await setup(t)
    const { near, far } = await open()
    far.pipe(far)
    link.close('for the test')
    await node.linked.count(2)
    await gateway.linked(node.identity.id)
    near.end('still here')
    assert.equal(await text(near), 'still here')
  })

  it('ends with the node', async (t) => {
    const { open, node } = await setup(t)
    const { near } = await open()
    const broken = once(near, 'error')
    await node.client.close()
    assert.equal(codeOf((await broken)[0])[0], 'shutting_down')
  })

  it('ends with the gateway', async (t) => {
    const { open, gateway } = await setup(t)
    const { far } = await open()
    const broken = once(far, 'error')
    await gateway.server.close()
    assert.equal(codeOf((await broken)[0])[0], 'shutting_down')
  })

  it('ends when it was idle too long, or lived too long', async (t) => {
    const { open } = await setup(t)
    for (const [laterMs, code] of [
      [TUNNEL_IDLE_MS, 'tunnel_idle'],
      [TUNNEL_TOTAL_MS, 'tunnel_expired'],
    ] as const) {
      const { near, far } = await open()
      assert.ok(near instanceof TunnelStream)
      near.tick(Date.now() + laterMs - 1000)
      assert.equal(near.destroyed, code === 'tunnel_expired')
      if (!near.destroyed) near.tick(Date.now() + laterMs + 1)
      const [error] = await once(far, 'error')
      assert.ok(['tunnel_idle', code].includes(codeOf(error)[0] ?? ''))
    }
  })
})

/** Whether the stream still takes pieces without being told to wait: asked after what was written had time to leave. */
async function roomIn(stream: NodeJS.WritableStream, piece: Buffer): Promise<boolean> {
  if (stream.write(piece)) return true
  const drained = once(stream, 'drain').then(() => true)
  const stuck = (async () => {
    for (let turns = 0; turns < 2000; turns++) await turn()
    return false
  })()
  return Promise.race([drained, stuck])
}

/** Unlike `text`, leaves the stream's other direction alone. */
async function wholeText(stream: Duplex): Promise<string> {
  let whole = ''
  stream.on('data', (chunk: Buffer) => (whole += chunk.toString()))
  await once(stream, 'end')
  return whole
}

async function sha256Of(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}

function codeOf(error: unknown): string[] {
  assert.ok(error instanceof Fault, String(error))
  return [error.code, error.message]
}
