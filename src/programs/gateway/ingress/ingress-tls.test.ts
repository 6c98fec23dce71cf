/** What the ingress does, by HTTPS: the same, and services hear that it was. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { createSecureContext } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { makeCertificate } from '../../../io/http/test-certificates.ts'
import type { TlsOptions } from '../../../io/http/tls-server.ts'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 30_000

describe('the ingress by HTTPS', { timeout }, () => {
  it('passes requests on, and says by which way they came', async (t) => {
    const { visit } = await setup(t)
    const body = Buffer.alloc(3_000_000, 'x')
    const answer = await visit({ method: 'POST', body })
    const said = JSON.parse(answer.body)
    assert.deepEqual([answer.status, said.bytes], [200, body.length])
    assert.equal(said.headers['x-forwarded-proto'], 'https')
    assert.equal(said.headers['x-forwarded-port'], '443')
    assert.match(said.headers.forwarded, /proto=https$/)
  })

  it('honours http_options', async (t) => {
    const { visit } = await setup(t, { maxBodyBytes: 1_000, readTimeoutMs: 50 })
    const large = await visit({ method: 'POST', body: Buffer.alloc(1_001) })
    assert.deepEqual([large.status, /1000 bytes/.test(large.body)], [413, true])
    const slow = await visit({ path: '/slow' })
    assert.deepEqual([slow.status, /service_timeout/.test(slow.body)], [504, true])
  })

  it('carries WebSockets', async (t) => {
    const { port } = await setup(t)
    const headers = { host: HOST }
    const how = { headers, servername: HOST, rejectUnauthorized: false }
    const ws = new WebSocket(`wss://127.0.0.1:${port}/`, how)
    await once(ws, 'open')
    for (const message of ['hello', 'x'.repeat(1_000_000)]) {
      ws.send(message)
      const [back] = await once(ws, 'message')
      assert.equal(String(back), message)
    }
    ws.close()
    await once(ws, 'close')
  })
})

async function setup(t: TestContext, http = {}) {
  const service = createServer((request, response) => {
    let bytes = 0
    if (request.url === '/slow') return
    request.on('data', (piece: Buffer) => (bytes += piece.length))
    request.on('end', () => response.end(JSON.stringify({ bytes, headers: request.headers })))
  })
  const sockets = new WebSocketServer({ server: service })
  sockets.on('connection', (ws) => ws.on('message', (data) => ws.send(data)))
  const context = createSecureContext(await makeCertificate([HOST]))
  const tls: TlsOptions = { contextFor: async () => context, onFallback: () => {} }
  return await setupIngress(t, [service], { http, tls })
}
