/** WebSockets through the ingress. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 60_000

describe('a WebSocket through the ingress', { timeout }, () => {
  it('carries messages both ways, and what was agreed', async (t) => {
    const { port } = await setupIngress(t, [echoing()])
    const ws = dial(port, ['chat', 'other'])
    const [[{ headers }]] = await Promise.all([once(ws, 'upgrade'), once(ws, 'open')])
    assert.equal(ws.protocol, 'chat')
    assert.equal(headers['x-from'], `${HOST} for 127.0.0.1`)
    const large = randomBytes(2 * 1024 * 1024)
    for (const message of [Buffer.from('hello'), large]) {
      ws.send(message)
      const [back] = await once(ws, 'message')
      assert.ok(message.equals(back))
    }
    ws.close(4321, 'done')
    const [code, reason] = await once(ws, 'close')
    assert.deepEqual([code, String(reason)], [4321, 'done'])
  })

  it('carries what was sent behind the handshake', async (t) => {
    const service = createServer()
    service.on('upgrade', (_request, socket, head) => {
      socket.write('HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nat once, ')
      socket.write(head)
      socket.on('data', (piece) => socket.write(piece)).on('end', () => socket.end())
    })
    const { dial: connect } = await setupIngress(t, [service])
    const socket = connect()
    socket.write(`${handshake()}early `)
    socket.end('and late')
    assert.match(await text(socket), /^HTTP\/1\.1 101 Go[^]*\r\n\r\nat once, early and late$/)
  })

  it('ends at the service when the visitor leaves', async (t) => {
    const service = echoing()
    const { port } = await setupIngress(t, [service])
    const ws = dial(port)
    await once(ws, 'open')
    const left = new Promise((resolve) => service.ended.push(resolve))
    ws.terminate()
    await left
  })

  it('ends at the visitor when the node goes', async (t) => {
    const { port, node } = await setupIngress(t, [echoing()])
    const ws = dial(port)
    await once(ws, 'open')
    const [[code]] = await Promise.all([once(ws, 'close'), node.client.close()])
    assert.equal(code, 1006)
  })

  const refusing: [string, RequestListener | Server, string, RegExp][] = [
    [
      'by the service',
      (_q, s) => s.writeHead(401, { 'x-why': 'no' }).end('who?'),
      HOST,
      /^401 who\?$/,
    ],
    ['by a service that hangs up', (q) => q.socket.destroy(), HOST, /^502 .*service_unreachable/],
    ['where no lease answers', echoing(), 'no.localhost', /^404 .*host_unknown/],
  ]
  for (const [what, service, host, answer] of refusing) {
    it(`is refused ${what}`, async (t) => {
      const { port } = await setupIngress(t, [service])
      assert.match(await refusalOf(dial(port, [], host)), answer)
    })
  }

  it('is refused while the node has no link', async (t) => {
    const { port, node } = await setupIngress(t, [echoing()])
    await node.client.close()
    assert.match(await refusalOf(dial(port)), /^503 .*lease_unreachable/)
  })

  it('is refused with a body, or with what no header may have', async (t) => {
    const { dial: connect } = await setupIngress(t, [echoing()])
    for (const header of ['content-length: 5', 'transfer-encoding: chunked', 'x: a\x01b']) {
      const socket = connect()
      socket.write(handshake(header))
      assert.match(await text(socket), /^HTTP\/1\.1 400 /)
    }
  })

  it('is an ordinary request when it asks for something else', async (t) => {
    const { dial: connect } = await setupIngress(t, [(_q, s) => s.end('plain')])
    const socket = connect()
    const head = ['GET / HTTP/1.1', `host: ${HOST}`, 'connection: upgrade, close', 'upgrade: h2c']
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    assert.match(await text(socket), /^HTTP\/1\.1 200 [^]*plain/)
  })
})

function dial(port: number, protocols: string[] = [], host = HOST): WebSocket {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/socket`, protocols, { headers: { host } })
  ws.on('error', () => {})
  return ws
}

async function refusalOf(ws: WebSocket): Promise<string> {
  const [, answer] = await once(ws, 'unexpected-response')
  return `${answer.statusCode} ${await text(answer)}`
}

function handshake(...more: string[]): string {
  const head = [
    'GET /socket HTTP/1.1',
    `host: ${HOST}`,
    'connection: Upgrade',
    'upgrade: websocket',
  ]
  return [...head, ...more, '', ''].join('\r\n')
}

/** A service that takes WebSockets and sends each message back. */
function echoing(): Server & { readonly ended: ((value: unknown) => void)[] } {
  const ended: ((value: unknown) => void)[] = []
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  sockets.on('headers', (headers, { headers: asked }) =>
    headers.push(`x-from: ${asked.host} for ${String(asked['x-forwarded-for'])}`),
  )
  sockets.on('connection', (ws) => {
    ws.on('message', (data) => ws.send(data))
    ws.on('close', () => ended.forEach((told) => told(null)))
    ws.on('error', () => {})
  })
  return Object.assign(server, { ended })
}
