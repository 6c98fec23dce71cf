/** Large bodies through the ingress, up and down: the memory of the process stays as it is. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as ask, type IncomingMessage, type RequestListener } from 'node:http'
import { request as askSecurely } from 'node:https'
import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, it, type TestContext } from 'node:test'
import { createSecureContext } from 'node:tls'
import { makeCertificate } from '../../../io/http/test-certificates.ts'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 180_000
const MIB = 1024 * 1024
const UP_BYTES = 1024 * MIB
const DOWN_BYTES = 512 * MIB
/** All five ends are in this process, and node:http makes garbage of every piece; a body that is held would be more. */
const MAX_GROWTH_BYTES = 128 * MIB

describe('a large body through the ingress', { timeout }, () => {
  it('of a gigabyte goes up without growing the memory', async (t) => {
    const { port } = await setupIngress(t, [counting])
    await upload(t, ask, port)
  })

  it('of a gigabyte goes up by HTTPS without growing the memory', async (t) => {
    const context = createSecureContext(await makeCertificate([HOST]))
    const tls = { contextFor: async () => context, onFallback: () => {} }
    const { port } = await setupIngress(t, [counting], { tls })
    await upload(t, askSecurely, port)
  })

  it('comes down without growing the memory', async (t) => {
    const { port } = await setupIngress(t, [
      (_request, response) => void pipeline(bulk(DOWN_BYTES), response).catch(() => {}),
    ])
    const rss = watchRss(t)
    const request = ask({ port, host: '127.0.0.1', agent: false, headers: { host: HOST } }).end()
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    let bytes = 0
    for await (const piece of answer as AsyncIterable<Buffer>) bytes += piece.length
    assert.equal(bytes, DOWN_BYTES)
    assert.ok(rss.growth() < MAX_GROWTH_BYTES, `${rss.growth() / MIB} MiB more`)
  })

  it('waits in the service while the visitor reads nothing', async (t) => {
    let sent = 0
    const { port } = await setupIngress(t, [
      (_request, response) => {
        const counted = bulk(DOWN_BYTES, (bytes) => (sent += bytes))
        void pipeline(counted, response).catch(() => {})
      },
    ])
    const request = ask({ port, host: '127.0.0.1', agent: false, headers: { host: HOST } }).end()
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    let before = -1
    while (sent > before) {
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // Three connections' kernel buffers, and what the streams between them hold.
    assert.ok(sent < 64 * MIB, `${sent / MIB} MiB left the service unread`)
    answer.on('error', () => {})
    request.destroy()
  })
})

const counting: RequestListener = (request, response) => {
  let bytes = 0
  request.on('data', (piece: Buffer) => (bytes += piece.length))
  request.on('end', () => response.end(String(bytes)))
}

async function upload(t: TestContext, send: typeof askSecurely, port: number): Promise<void> {
  const rss = watchRss(t)
  const headers = { host: HOST, 'content-length': UP_BYTES }
  const to = { port, host: '127.0.0.1', servername: HOST, rejectUnauthorized: false }
  const request = send({ ...to, agent: false, method: 'PUT', headers })
  const answered = once(request, 'response')
  await pipeline(bulk(UP_BYTES), request)
  const [answer] = (await answered) as [IncomingMessage]
  assert.equal(await text(answer), String(UP_BYTES))
  assert.ok(rss.growth() < MAX_GROWTH_BYTES, `${rss.growth() / MIB} MiB more`)
}

const PIECE = Buffer.alloc(64 * 1024, 'x')

function bulk(size: number, count: (bytes: number) => void = () => {}): Readable {
  let left = size
  return new Readable({
    read() {
      const piece = PIECE.subarray(0, Math.min(left, PIECE.length))
      left -= piece.length
      count(piece.length)
      this.push(piece.length === 0 ? null : piece)
    },
  })
}

function watchRss(t: { after(then: () => void): void }): { growth(): number } {
  const start = process.memoryUsage.rss()
  let most = start
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 50)
  t.after(() => clearInterval(timer))
  return { growth: () => most - start }
}
