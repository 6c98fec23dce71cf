/** Events on real connections: whole, in order, in few writes, whatever the tenant's HTTP is like. */
import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { SseStream } from './sse-stream.ts'

const limit = { timeout: 10_000 }

describe('sse stream', limit, () => {
  it('writes all events of one turn together, as one chunk', limit, async (t) => {
    const { ask } = await setup(t, (sse) => {
      sse.open(['x-request-id', 'req_1'])
      for (const event of ['a', 'b', 'c']) sse.push(`data: ${event}\n\n`)
      sse.push('')
      sse.end()
    })
    const answer = await ask('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(answer, /x-request-id: req_1\r\ncontent-type: text\/event-stream/)
    assert.match(answer, /\r\n\r\n1b\r\ndata: a\n\ndata: b\n\ndata: c\n\n\r\n0\r\n\r\n$/)
  })

  it('counts bytes and not characters', limit, async (t) => {
    const texts = ['plain', 'Grüße', '日本語', '👩‍🚀 \u2028']
    const { url } = await setup(t, async (sse) => {
      sse.open([])
      for (const text of texts) {
        sse.push(`data: ${text}\n\n`)
        await new Promise(setImmediate)
      }
      sse.end()
    })
    const text = await (await fetch(url)).text()
    assert.equal(text, texts.map((one) => `data: ${one}\n\n`).join(''))
  })

  it('goes out at once, also before anything more comes', limit, async (t) => {
    const opened: SseStream[] = []
    const { url } = await setup(t, (sse) => {
      opened.push(sse)
      sse.open([])
      sse.push('data: first\n\n')
    })
    const response = await fetch(url)
    const reader = response.body?.getReader()
    const { value } = (await reader?.read()) ?? {}
    assert.equal(Buffer.from(value ?? []).toString(), 'data: first\n\n')
    opened[0]?.end()
    assert.equal((await reader?.read())?.done, true)
  })

  it('answers HTTP/1.0 without chunks, up to the end of the connection', limit, async (t) => {
    const { ask } = await setup(t, (sse) => {
      sse.open([])
      sse.push('data: a\n\n')
      sse.end()
    })
    const answer = await ask('GET / HTTP/1.0\r\n\r\n')
    assert.match(answer, /\r\n\r\ndata: a\n\n$/)
    assert.doesNotMatch(answer, /transfer-encoding/i)
  })

  it('keeps the answers of a pipelined connection apart and in order', limit, async (t) => {
    const opened: SseStream[] = []
    const { ask } = await setup(t, (sse) => {
      sse.open(['x-number', String(opened.push(sse))])
      if (opened.length < 2) return
      // The second is done before the first has begun.
      for (const [index, one] of [...opened.entries()].toReversed()) {
        one.push(`data: of ${index + 1}\n\n`)
        one.end()
      }
    })
    const get = 'GET / HTTP/1.1\r\nhost: x\r\n'
    const answer = await ask(`${get}\r\n${get}connection: close\r\n\r\n`)
    assert.match(
      answer,
      /x-number: 1.*of 1.*0\r\n\r\nHTTP\/1\.1 200.*x-number: 2.*of 2.*0\r\n\r\n$/s,
    )
  })

  it('keeps a connection alive for the next request', limit, async (t) => {
    const { ask } = await setup(t, (sse) => {
      sse.open([])
      sse.push('data: a\n\n')
      sse.end()
    })
    const get = 'GET / HTTP/1.1\r\nhost: x\r\n'
    const answer = await ask(`${get}\r\n${get}connection: close\r\n\r\n`)
    assert.equal(answer.match(/data: a\n\n/g)?.length, 2)
  })

  it(
    'tells how much is unread and how much was taken, and calls back when all was',
    limit,
    async (t) => {
      const { streams, socket } = await slowReader(t)
      const [sse] = streams
      assert.ok(sse)
      const read = new Promise<void>((resolve) => sse.onceRead(resolve))
      assert.ok(sse.unreadBytes > 1_000_000)
      const before = sse.takenBytes
      socket.resume()
      await read
      assert.deepEqual([sse.unreadBytes, sse.takenBytes > before], [0, true])
      socket.destroy()
    },
  )

  it('bears a connection that breaks under it', limit, async (t) => {
    const { streams, socket } = await slowReader(t)
    socket.destroy()
    for (let i = 0; i < 20; i++) {
      streams[0]?.push('data: more\n\n')
      await new Promise(setImmediate)
    }
    streams[0]?.end()
  })
})

/** A stream with 8 MB in it, and a tenant that reads none of it. */
async function slowReader(t: TestContext) {
  const streams: SseStream[] = []
  const { port } = await setup(t, (sse) => {
    streams.push(sse)
    sse.open([])
    sse.push(`data: ${'x'.repeat(8_000_000)}\n\n`)
  })
  const socket = connect(port, '127.0.0.1').pause()
  t.after(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  while (streams.length === 0) await new Promise(setImmediate)
  await new Promise(setImmediate)
  return { streams, socket }
}

async function setup(t: TestContext, answer: (sse: SseStream) => unknown) {
  const server = createServer((_request, response: ServerResponse) => {
    void answer(new SseStream(response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close().closeAllConnections())
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** Everything that is said until the connection ends. */
    ask: (text: string): Promise<string> =>
      new Promise((resolve) => {
        let said = ''
        const socket: Socket = connect(port, '127.0.0.1')
        socket.setEncoding('utf8').on('data', (data: string) => (said += data))
        socket.on('close', () => resolve(said))
        socket.write(text)
      }),
  }
}
