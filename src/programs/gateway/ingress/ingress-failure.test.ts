/** What a visitor hears when the service cannot answer, and which other copies are asked first. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { describe, it } from 'node:test'
import { HOST, setupIngress, type Visited } from './ingress-kit.ts'

const timeout = 60_000
const fine: RequestListener = (_request, response) => response.end('fine')
const failing: RequestListener = (_request, response) => response.writeHead(500).end('broken')
const hangingUp: RequestListener = (request) => request.socket.destroy()
const silent: RequestListener = () => {}

describe('ingress without an answer', { timeout }, () => {
  it('does not know a host', async (t) => {
    const { visit } = await setupIngress(t, [fine])
    const answer = await visit({ headers: { host: 'web.other.localhost' } })
    assert.deepEqual(codeOf(answer), [404, 'host_unknown', undefined])
  })

  it('says what a lease waits for, in a page where people ask', async (t) => {
    const { visit, table, target } = await setupIngress(t, [fine])
    const message = 'The image <web> is pulled.'
    table.set(HOST, { state: 'starting', message, retryAfterS: 3 }, target.lease)
    assert.deepEqual(codeOf(await visit()), [503, 'lease_starting', '3'])
    const page = await visit({ headers: { accept: 'text/html,*/*' } })
    assert.equal(page.status, 503)
    assert.equal(page.headers['retry-after'], '3')
    assert.match(page.body, /<h1>503<\/h1><p>The image &lt;web> is pulled\..*lease_starting/s)
    table.set(HOST, { state: 'moving', message, retryAfterS: 5 }, target.lease)
    assert.deepEqual(codeOf(await visit()), [503, 'lease_unreachable', '5'])
  })

  it('says so when the node is gone', async (t) => {
    const { visit, node } = await setupIngress(t, [fine])
    await visit()
    await node.client.close()
    assert.deepEqual(codeOf(await visit()), [503, 'lease_unreachable', '2'])
  })

  it('says so when nothing listens', async (t) => {
    const gone = createServer(fine)
    const { visit } = await setupIngress(t, [gone])
    gone.close()
    assert.deepEqual(codeOf(await visit()), [502, 'service_unreachable', '1'])
  })

  const nonsense: [string, string][] = [
    ['something else than HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a length and a coding', head('content-length: 5', 'transfer-encoding: chunked') + 'hello'],
    ['two lengths', head('content-length: 5', 'content-length: 6') + 'hello!'],
    ['larger headers than fit', head(`x-large: ${'x'.repeat(20_000)}`)],
    ['a status that is none', 'HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n'],
    ['a control character in its reason', 'HTTP/1.1 200 O\x01K\r\ncontent-length: 0\r\n\r\n'],
    ['a control character in a header', head('x: a\x01b', 'content-length: 0')],
    ['nothing', ''],
    [
      'an upgrade that nobody asked for',
      'HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    ],
  ]
  for (const [what, bytes] of nonsense) {
    it(`believes no service that answers with ${what}`, async (t) => {
      const { visit } = await setupIngress(t, [saying(bytes)])
      assert.deepEqual(codeOf(await visit()), [502, 'service_unreachable', undefined])
    })
  }

  it('reads larger headers where the buffer is set so', async (t) => {
    const bytes = head(`x-large: ${'x'.repeat(20_000)}`, 'content-length: 0')
    const http = { proxyBufferBytes: 64 * 1024 }
    const { visit } = await setupIngress(t, [saying(bytes)], { http })
    // The test's own client reads 16 KiB.
    assert.equal((await visit({ maxHeaderSize: 64 * 1024 })).status, 200)
  })

  it('takes nothing for an answer that was said unasked', async (t) => {
    const services = [
      saying(`${head('content-length: 2')}okHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`),
    ]
    const { visit } = await setupIngress(t, services)
    assert.equal((await visit()).body, 'ok')
    assert.equal((await visit()).body, 'ok')
  })

  it('refuses a body over the limit, announced or not', async (t) => {
    let asked = 0
    const { visit } = await setupIngress(t, [(r, s) => ((asked += 1), r.resume(), fine(r, s))], {
      http: { maxBodyBytes: 1000 },
    })
    const body = 'x'.repeat(1001)
    const announced = await visit({ method: 'POST', body })
    assert.deepEqual(codeOf(announced), [413, 'request_too_large', undefined])
    assert.equal(asked, 0)
    const headers = { 'transfer-encoding': 'chunked' }
    const chunked = await visit({ method: 'POST', headers, body })
    assert.deepEqual(codeOf(chunked), [413, 'request_too_large', undefined])
    assert.equal((await visit({ method: 'POST', body: 'x'.repeat(1000) })).body, 'fine')
  })

  it('waits as long for an answer as http_options say', async (t) => {
    const { visit } = await setupIngress(t, [() => {}], { http: { readTimeoutMs: 50 } })
    assert.deepEqual(codeOf(await visit()), [504, 'service_timeout', undefined])
  })

  it('waits as long for a service to take the body as http_options say', async (t) => {
    const server = createTcpServer((socket) => void socket.pause())
    const { visit } = await setupIngress(t, [server], { http: { sendTimeoutMs: 50 } })
    const body = new Uint8Array(64 * 1024 * 1024)
    const answer = await visit({ method: 'POST', body })
    assert.deepEqual(codeOf(answer), [504, 'service_timeout', undefined])
  })

  it('asks again on a fresh connection when a kept one was just closed', async (t) => {
    const served = new WeakSet<object>()
    const { visit, tunnels } = await setupIngress(t, [
      (request, response) => {
        if (served.has(request.socket)) request.socket.destroy()
        else response.end('fine')
        served.add(request.socket)
      },
    ])
    assert.equal((await visit()).body, 'fine')
    assert.equal((await visit()).body, 'fine')
    assert.equal(tunnels.length, 2)
    // Doing it twice could do harm.
    const post = await visit({ method: 'POST', body: 'order' })
    assert.deepEqual(codeOf(post), [502, 'service_unreachable', undefined])
  })
})

describe('ingress to several copies', { timeout }, () => {
  it('spreads requests over them', async (t) => {
    const { visit, tunnels } = await setupIngress(t, [fine, fine, fine])
    await Promise.all(Array.from({ length: 9 }, () => visit()))
    assert.deepEqual(new Set(tunnels), new Set([0, 1, 2]))
  })

  const cases: [string, RequestListener, object][] = [
    ['breaks', hangingUp, { nextCases: ['error'] }],
    ['is silent', silent, { nextCases: ['timeout'], readTimeoutMs: 50 }],
    ['fails', failing, { nextCases: ['500'] }],
  ]
  for (const [what, bad, http] of cases) {
    it(`asks the next when one ${what}`, async (t) => {
      const { visit } = await setupIngress(t, [bad, fine], { http })
      for (let i = 0; i < 6; i++) assert.equal((await visit()).body, 'fine')
    })
  }

  it('asks the next when one cannot be reached, whatever was asked', async (t) => {
    const gone = createServer(fine)
    const { visit } = await setupIngress(t, [gone, fine])
    gone.close()
    for (let i = 0; i < 6; i++)
      assert.equal((await visit({ method: 'POST', body: 'order' })).body, 'fine')
  })

  it('passes the last failure on when all fail, and asks no more than it may', async (t) => {
    const counted = counting(failing)
    const services = [counted.listener, counted.listener, counted.listener]
    const { visit } = await setupIngress(t, services, {
      http: { nextCases: ['500'], nextTries: 2 },
    })
    const { status, body } = await visit()
    assert.deepEqual([status, body, counted.asked()], [500, 'broken', 2])
  })

  it('asks no other when told not to, or when asking twice could do harm', async (t) => {
    const never: [object, object][] = [
      [{ nextCases: ['500', 'off'] }, {}],
      [{ nextCases: ['error'] }, {}],
      [{ nextCases: ['500'] }, { method: 'POST', body: 'order' }],
      [{ nextCases: ['500'], nextTries: 1 }, {}],
    ]
    for (const [http, how] of never) {
      const counted = counting(failing)
      const { visit } = await setupIngress(t, [counted.listener, counted.listener], { http })
      assert.equal((await visit(how)).status, 500)
      assert.equal(counted.asked(), 1)
    }
  })
})

function codeOf({ status, headers, body }: Visited): unknown[] {
  const { error }: { error: { code: string } } = JSON.parse(body)
  return [status, error.code, headers['retry-after']]
}

function counting(listener: RequestListener) {
  let asked = 0
  return {
    asked: () => asked,
    listener: ((request, response) => {
      asked += 1
      listener(request, response)
    }) satisfies RequestListener,
  }
}

function head(...headers: string[]): string {
  return ['HTTP/1.1 200 OK', ...headers, '', ''].join('\r\n')
}

/** A service that says these bytes to whatever it is asked, and hangs up when they are none. */
function saying(bytes: string): Server {
  return createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => (bytes === '' ? socket.destroy() : socket.write(bytes)))
  })
}
