/** What visitors of a tenant's service get through the ingress, and what the service sees of them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as ask, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 60_000

describe('ingress', { timeout }, () => {
  it('answers a GET with what the service says', async (t) => {
    const { visit } = await setupIngress(t, [
      (request, response) => {
        response.writeHead(418, 'Teapot', ['x-said', 'by', 'x-said', 'the service'])
        response.end(`${request.method} ${request.url} for ${request.headers.host}`)
      },
    ])
    const { status, headers, body } = await visit({ path: '/a?b=c' })
    assert.equal(status, 418)
    assert.equal(headers['x-said'], 'by, the service')
    assert.equal(body, `GET /a?b=c for ${HOST}`)
  })

  it('carries bodies up, with a length and without', async (t) => {
    const { visit } = await setupIngress(t, [echo])
    const announced = await visit({ method: 'POST', body: 'hello' })
    assert.equal(announced.body, 'length 5, coding undefined: hello')
    const headers = { 'transfer-encoding': 'chunked' }
    const chunked = await visit({ method: 'PUT', headers, body: 'hello' })
    assert.equal(chunked.body, 'length undefined, coding chunked: hello')
    const none = await visit({ method: 'POST', headers: { 'content-length': 0 } })
    assert.equal(none.body, 'length 0, coding undefined: ')
    const withGet = await visit({ method: 'GET', headers, body: 'rare' })
    assert.equal(withGet.body, 'length undefined, coding chunked: rare')
  })

  it('carries answers without a body as they are', async (t) => {
    const { visit } = await setupIngress(t, [
      (request, response) => {
        if (request.method === 'HEAD') response.setHeader('content-length', 1234)
        response.statusCode = request.url === '/304' ? 304 : request.url === '/204' ? 204 : 200
        response.end()
      },
    ])
    const head = await visit({ method: 'HEAD' })
    assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '1234', ''])
    assert.equal((await visit({ path: '/204' })).status, 204)
    assert.equal((await visit({ path: '/304' })).status, 304)
  })

  it('hands each piece of an answer on as it comes', async (t) => {
    const answers: ServerResponse[] = []
    const { port } = await setupIngress(t, [
      (_request, response) => {
        answers.push(response)
        response.write('first')
      },
    ])
    const request = ask({ port, host: '127.0.0.1', agent: false, headers: { host: HOST } }).end()
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    const [piece] = await once(answer, 'data')
    assert.equal(String(piece), 'first')
    answers[0]?.end('last')
    assert.equal(await text(answer), 'last')
  })

  it('asks for the body only when the service is there to take it', async (t) => {
    const { port, visit } = await setupIngress(t, [echo])
    const headers = { host: HOST, expect: '100-continue', 'content-length': 5 }
    const request = ask({ port, host: '127.0.0.1', agent: false, method: 'POST', headers })
    request.flushHeaders()
    await once(request, 'continue')
    request.end('hello')
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(await text(answer), 'length 5, coding undefined: hello')
    const unknown = await visit({ method: 'POST', headers: { ...headers, host: 'no.localhost' } })
    assert.equal(unknown.status, 404)
  })

  it('keeps a tunnel for the next request', async (t) => {
    const { visit, tunnels } = await setupIngress(t, [echo])
    const warnings: Error[] = []
    const note = (warning: Error): void => void warnings.push(warning)
    process.on('warning', note)
    t.after(() => process.off('warning', note))
    for (let i = 0; i < 30; i++) await visit({ method: 'POST', body: `${i}` })
    assert.equal(tunnels.length, 1)
    assert.equal(warnings.length, 0, 'nothing piles up on a tunnel')
    await Promise.all(Array.from({ length: 5 }, () => visit()))
    assert.ok(tunnels.length <= 5)
  })

  it('keeps none that the service will not go on with', async (t) => {
    const { visit, tunnels } = await setupIngress(t, [
      (_request, response) => response.setHeader('connection', 'close').end('once'),
    ])
    assert.equal((await visit()).body, 'once')
    assert.equal((await visit()).body, 'once')
    assert.equal(tunnels.length, 2)
  })

  it('breaks an answer that the service breaks', async (t) => {
    const { visit } = await setupIngress(t, [
      (_request, response) => {
        response.write('half')
        setImmediate(() => response.destroy())
      },
    ])
    await assert.rejects(visit(), /aborted|hang up|ECONNRESET/)
  })

  it('tells the service when the visitor leaves', async (t) => {
    let left: () => void
    const leaving = new Promise<void>((resolve) => (left = resolve))
    const { port } = await setupIngress(t, [
      (_request, response) => {
        response.once('close', () => left())
        response.write('so far')
      },
    ])
    const request = ask({ port, host: '127.0.0.1', agent: false, headers: { host: HOST } }).end()
    request.on('error', () => {})
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    answer.on('error', () => {})
    request.destroy()
    await leaving
  })

  it('passes an answer on that comes before the body is through', async (t) => {
    const { port } = await setupIngress(t, [
      (_request, response) => response.writeHead(403, { connection: 'close' }).end('no'),
    ])
    const headers = { host: HOST, 'transfer-encoding': 'chunked' }
    const request = ask({ port, host: '127.0.0.1', agent: false, method: 'POST', headers })
    request.on('error', () => {})
    request.write('the first of many')
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(answer.statusCode, 403)
    assert.equal(await text(answer), 'no')
    request.destroy()
  })

  it('lets an upload take its time', async (t) => {
    // The server of the kit gives others 300 ms.
    const { port } = await setupIngress(t, [echo])
    const headers = { host: HOST, 'transfer-encoding': 'chunked' }
    const request = ask({ port, host: '127.0.0.1', agent: false, method: 'POST', headers })
    for (const piece of ['slow', ' and ', 'steady']) {
      request.write(piece)
      await pause(200)
    }
    request.end()
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    assert.match(await text(answer), /slow and steady/)
  })

  it('leaves every other host to the gateway', async (t) => {
    const { visit, table, target } = await setupIngress(t, [echo])
    const get = async (host: string) => (await visit({ headers: { host } })).body
    assert.equal(await get('localhost'), 'the gateway itself')
    assert.equal(await get('api.example.com'), 'the gateway itself')
    assert.equal(await get('Gateway.localhost'), 'the gateway itself')
    assert.ok(table.set('Shop.Example.com.', { state: 'running', target }, target.lease))
    assert.match(await get('shop.example.com:8080'), /^length/)
    table.remove('shop.example.com', target.lease)
    assert.equal(await get('shop.example.com'), 'the gateway itself')
  })

  it('survives a link that breaks under it', async (t) => {
    const { visit, target, node } = await setupIngress(t, [echo])
    await visit()
    target.link()?.close('for the test')
    assert.equal((await visit()).status, 200)
    await node.linked.count(2)
    assert.equal((await visit()).status, 200)
  })
})

function echo(request: IncomingMessage, response: ServerResponse): void {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  void text(request).then((body) => response.end(`length ${length}, coding ${coding}: ${body}`))
}
