import assert from 'node:assert/strict'
import { createServer, request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { Fault, isRefusal, refuse } from '../../core/base/refusal.ts'
import { createHttpServer, listen, type HttpServerOptions } from './http-server.ts'
import { createBodyReader } from './read-body.ts'
import { sendJson, sendRefusal } from './respond.ts'

const LIMIT = 1000
const timeout = 20_000

describe('reading a body', () => {
  it('gives a body in one piece, whether announced or chunked', { timeout }, async (t) => {
    const { url } = await setup(t)
    for (const body of ['', 'x'.repeat(LIMIT), chunked('ab', 'cd')]) {
      const res = await fetch(url, { method: 'POST', body, duplex: 'half' })
      const want = typeof body === 'string' ? body.length : 4
      assert.deepEqual([res.status, await res.json()], [200, { bytes: want }])
    }
  })

  it('refuses an announced body over the limit before reading it', { timeout }, async (t) => {
    const { port } = await setup(t)
    const answer = await exchange(
      port,
      `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n`,
    )
    assert.match(answer, /^HTTP\/1\.1 413 /)
    assert.match(answer, /5000 bytes; the limit is 1000 bytes/)
  })

  it('does not ask for a body that is announced too large', { timeout }, async (t) => {
    const { port } = await setup(t)
    const head = `POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: `
    const small = await exchange(port, `${head}2\r\nconnection: close\r\n\r\nhi`)
    assert.match(small, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    assert.match(await exchange(port, `${head}5000\r\n\r\n`), /^HTTP\/1\.1 413 /)
  })

  it('counts a chunked body and refuses it when it passes the limit', { timeout }, async (t) => {
    const { port } = await setup(t)
    const chunk = `${(600).toString(16)}\r\n${'x'.repeat(600)}\r\n`
    const head = 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n'
    assert.match(await exchange(port, head + chunk + chunk), /^HTTP\/1\.1 413 /)
  })

  it('ends a 1 GB body with 413 and bounded memory', { timeout }, async (t) => {
    const { port } = await setup(t)
    const before = process.memoryUsage.rss()
    const { status, sentBytes } = await upload(port, 1024 ** 3)
    const grownMiB = (process.memoryUsage.rss() - before) / 1024 ** 2
    assert.equal(status, 413)
    assert.ok(sentBytes < 1024 ** 3, 'the answer came before the end of the body')
    assert.ok(grownMiB < 150, `memory grew by ${grownMiB.toFixed(0)} MiB`)
  })

  it('holds no more than its share over all unfinished bodies', { timeout }, async (t) => {
    const { port, url } = await setup(t, {}, 1500)
    const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n'
    const first = await open(port, head + 'x'.repeat(900))
    const second = await fetch(url, { method: 'POST', body: 'x'.repeat(1000) })
    assert.deepEqual([second.status, second.headers.get('retry-after')], [429, '1'])
    first.destroy()
    await until(async () => (await fetch(url, { method: 'POST', body: 'x'.repeat(1000) })).ok)
  })

  it('tells when the tenant goes away in the middle', { timeout }, async (t) => {
    const { port, gone } = await setup(t)
    const socket = await open(port, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc')
    await new Promise((resolve) => setTimeout(resolve, 20))
    socket.destroy()
    await gone
  })
})

describe('connections from strangers', () => {
  it('answers what is not HTTP with a 400 that can be read', { timeout }, async (t) => {
    const { port } = await setup(t)
    const answer = await exchange(port, 'GET  / HTTP/9.9\r\n\x00\x01\r\n\r\n')
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
    assert.match(answer, /"code":"invalid_value"/)
  })

  it('answers headers over the limit with 431', { timeout }, async (t) => {
    const { port } = await setup(t, { maxHeaderBytes: 2048 })
    const answer = await exchange(
      port,
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(4000)}\r\n\r\n`,
    )
    assert.match(answer, /^HTTP\/1\.1 431 .*"code":"headers_too_large"/s)
  })

  it(
    'ends slow headers and slow bodies with 408 while others are served',
    { timeout },
    async (t) => {
      const timeouts = { headersTimeoutMs: 150, requestTimeoutMs: 300, checkIntervalMs: 30 }
      const { port, url } = await setup(t, timeouts)
      const slow = [
        '',
        'GET / HT',
        'GET / HTTP/1.1\r\nhost: x\r\n',
        'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc',
        'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab',
      ].map((text) => exchange(port, text))
      assert.equal((await fetch(url, { method: 'POST', body: 'ok' })).status, 200)
      for (const answer of await Promise.all(slow)) {
        assert.match(answer, /^HTTP\/1\.1 408 .*"code":"request_timeout"/s)
      }
    },
  )

  it(
    'turns away connections over the limit, in all and for one address',
    { timeout },
    async (t) => {
      for (const limits of [{ maxConnections: 2 }, { maxConnectionsPerAddress: 2 }]) {
        const { port, server } = await setup(t, limits)
        const held = [await open(port, ''), await open(port, '')]
        await until(() => Promise.resolve(server.connections() === 2))
        assert.match(await exchange(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'), /^HTTP\/1\.1 429 /)
        for (const socket of held) socket.destroy()
        await until(() => Promise.resolve(server.connections() === 0))
        const again = await exchange(port, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
        assert.match(again, /^HTTP\/1\.1 200 /)
      }
    },
  )

  it('leaves upgraded connections to whoever took them over', { timeout }, async (t) => {
    const { port, server } = await setup(t, {
      onUpgrade: (_, socket) => socket.on('data', (data) => socket.write(data)).write('hi'),
    })
    const head = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: y\r\n\r\n'
    const socket = await open(port, head)
    t.after(() => socket.destroy())
    const heard = () =>
      new Promise((resolve) => socket.once('data', (data) => resolve(String(data))))
    assert.equal(await heard(), 'hi')
    assert.equal(server.connections(), 0)
    assert.equal(await server.close(10_000), 0)
    socket.write('still here')
    assert.equal(await heard(), 'still here')
  })
})

describe('what no ordinary client sends', () => {
  const post = 'POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n'

  it(
    'serves a request that would rather speak HTTP/2 as if it had not asked',
    { timeout },
    async (t) => {
      const { port, server } = await setup(t, { onUpgrade: () => false })
      const wish =
        'connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n'
      const first = `POST / HTTP/1.1\r\nhost: x\r\n${wish}content-length: 5\r\n\r\nhello`
      const answers = await exchange(port, `${first}${post}content-length: 2\r\n\r\nhi`)
      assert.deepEqual(answers.match(/\{"bytes":\d\}/g), ['{"bytes":5}', '{"bytes":2}'])
      await until(() => Promise.resolve(server.connections() === 0))
    },
  )

  it(
    'says why it refuses a tunnel, an unknown expectation, and a request to no host',
    { timeout },
    async (t) => {
      const { port } = await setup(t)
      const refused = [
        ['CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n', 405, 'CONNECT is not offered'],
        [`${post}expect: a-miracle\r\n\r\n`, 400, "'Expect' may only ask"],
        ['GET / HTTP/1.1\r\nconnection: close\r\n\r\n', 400, "needs the header 'Host'"],
      ] as const
      for (const [text, status, why] of refused) {
        const answer = await exchange(port, text)
        assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} .*"message":"[^"]*${why}`, 's'))
      }
    },
  )
})

describe('listening and closing', () => {
  it('names the port that is taken', { timeout }, async (t) => {
    const { port } = await setup(t)
    const second = createServer()
    await assert.rejects(
      listen(second, { host: '127.0.0.1', port }),
      (error: Fault) => error.code === 'port_taken' && error.message.includes(String(port)),
    )
  })

  it('lets a running answer finish, then is closed', { timeout }, async (t) => {
    const { server, url, held } = await setup(t)
    const answer = fetch(`${url}/held`)
    const release = await held
    const closed = server.close(10_000)
    release()
    const res = await answer
    assert.deepEqual([res.status, await res.text()], [200, '{"held":true}'])
    assert.equal(await closed, 0)
    await assert.rejects(fetch(url))
  })

  it('does not wait for connections on which nothing was asked yet', { timeout }, async (t) => {
    const { server, port } = await setup(t)
    const unused = await open(port, '')
    const cut = new Promise((resolve) => unused.once('close', resolve))
    while (server.connections() === 0) await new Promise(setImmediate)
    assert.equal(await server.close(60_000), 0)
    await cut
  })

  it('cuts what is left after the deadline', { timeout }, async (t) => {
    const { server, url, held } = await setup(t)
    const answer = fetch(`${url}/held`)
    await held
    const [cut] = await Promise.all([server.close(20), assert.rejects(answer)])
    assert.equal(cut, 1)
  })
})

describe('refusals', () => {
  it('carry retry-after and www-authenticate', { timeout }, async (t) => {
    const { url } = await setup(t)
    const res = await fetch(`${url}/refused`)
    assert.equal(res.status, 401)
    assert.equal(res.headers.get('www-authenticate'), 'Bearer realm="baseload"')
    assert.equal(res.headers.get('retry-after'), '3')
  })

  it('keep the connection when there is nothing left to read', { timeout }, async (t) => {
    const { port } = await setup(t)
    const get = 'GET /refused HTTP/1.1\r\nhost: x\r\n'
    const answers = await exchange(port, `${get}\r\n${get}connection: close\r\n\r\n`)
    assert.equal(answers.split('HTTP/1.1 401 ').length, 3)
  })
})

/** A server that answers the size of each body; `/held` answers when released; `/refused` is refused. */
async function setup(t: TestContext, options: Partial<HttpServerOptions> = {}, maxHeld = 1e6) {
  const readBody = createBodyReader(maxHeld)
  const gone = deferred<void>()
  const held = deferred<() => void>()
  const server = createHttpServer({
    maxBodyBytes: LIMIT,
    ...options,
    onRequest(req, res) {
      if (req.url === '/held') return held.resolve(() => sendJson(res, 200, '{"held":true}'))
      if (req.url === '/refused')
        return sendRefusal(res, refuse('invalid_api_key', 'No.', { retryAfterS: 3 }))
      readBody(req, LIMIT, (body) => {
        if (body === null) gone.resolve()
        else if (isRefusal(body)) sendRefusal(res, body)
        else sendJson(res, 200, JSON.stringify({ bytes: body.length }))
      })
    },
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => server.close(0))
  return { server, port, url: `http://127.0.0.1:${port}`, gone: gone.promise, held: held.promise }
}

async function open(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(text)
  return socket
}

/** All that the server says until it closes the connection. */
async function exchange(port: number, text: string): Promise<string> {
  const socket = await open(port, text)
  let answer = ''
  socket.setEncoding('latin1').on('data', (data: string) => {
    answer += data
    if (/^HTTP\/1\.1 413 .*}$/s.test(answer)) socket.end()
  })
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}

/** Sends as fast as the connection takes it, until the answer comes. */
function upload(port: number, bytes: number): Promise<{ status: number; sentBytes: number }> {
  const chunk = Buffer.alloc(256 * 1024)
  const state = { status: 0, sentBytes: 0 }
  return new Promise((resolve, reject) => {
    const req = httpRequest({ port, host: '127.0.0.1', method: 'POST' }, (res) => {
      state.status = res.statusCode ?? 0
      res.resume().once('end', () => req.destroy())
    })
    req.once('error', (error) => (state.status === 0 ? reject(error) : undefined))
    req.once('close', () => resolve(state))
    const more = (): void => {
      while (state.status === 0 && state.sentBytes < bytes) {
        state.sentBytes += chunk.length
        if (!req.write(chunk)) return void req.once('drain', more)
      }
    }
    more()
  })
}

const chunked = (...parts: string[]): ReadableStream =>
  new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
      controller.close()
    },
  })

function deferred<T>() {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 5))
}
