import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectPlainly, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { connect, createSecureContext, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { createHttpServer, type HttpServerOptions } from './http-server.ts'
import { makeCertificate } from './test-certificates.ts'

const timeout = 20_000

describe('HTTPS', { timeout }, () => {
  it('shows the certificate of the host that is named, else the one for all others', async (t) => {
    const { dial } = await setup(t)
    for (const [servername, shown] of [
      ['a.example', 'a.example'],
      ['b.example', 'b.example'],
      ['other.example', 'fallback.example'],
      ['', 'fallback.example'],
    ])
      assert.equal((await dial({ servername })).getPeerCertificate().subject.CN, shown)
  })

  it('fails a handshake that nothing is for, or whose certificate cannot be had', async (t) => {
    const { dial } = await setup(t, { fallback: false })
    await assert.rejects(dial({ servername: 'other.example' }), /handshake failure/)
    await assert.rejects(dial({ servername: 'broken.example' }))
    assert.ok(await dial({ servername: 'a.example' }), 'the next one works')
  })

  it('speaks TLS 1.2 and newer', async (t) => {
    const { dial } = await setup(t)
    await assert.rejects(
      dial({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }),
    )
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      assert.equal(
        (await dial({ minVersion: version, maxVersion: version })).getProtocol(),
        version,
      )
  })

  it('answers requests, several on a connection', async (t) => {
    const { dial } = await setup(t)
    const socket = await dial()
    socket.write('GET /1 HTTP/1.1\r\nhost: a.example\r\n\r\n')
    socket.write('GET /2 HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n')
    assert.match(await text(socket), /got \/1[^]*got \/2/)
  })

  it('reads a request anew when its wish to upgrade is refused', async (t) => {
    const { dial } = await setup(t, { onUpgrade: () => false })
    const socket = await dial()
    socket.write(
      'GET /up HTTP/1.1\r\nhost: a.example\r\nupgrade: h2c\r\nconnection: upgrade, close\r\n\r\n',
    )
    assert.match(await text(socket), /got \/up/)
  })

  it('closes what is no TLS, and lives', async (t) => {
    const { dial, plain } = await setup(t)
    const socket = plain()
    socket.write('GET / HTTP/1.1\r\nhost: a.example\r\n\r\n')
    assert.doesNotMatch(await text(socket), /^HTTP/)
    assert.ok(await dial())
  })

  it('holds only so many handshakes of those who say nothing', async (t) => {
    const { dial, plain } = await setup(t, { maxConnections: 3 })
    const silent = [plain(), plain(), plain()]
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    const fourth = plain()
    await once(fourth, 'close')
    await assert.rejects(dial())
    assert.deepEqual(
      silent.map(({ destroyed }) => destroyed),
      [false, false, false],
    )
    for (const socket of silent) socket.destroy()
    const again = async (): Promise<TLSSocket> => await dial().catch(again)
    for (const _ of [1, 2, 3, 4, 5, 6]) (await again()).destroy()
  })

  it('ends running answers before it closes', async (t) => {
    const running: ServerResponse[] = []
    const { dial, server } = await setup(t, {
      onRequest: (_request, response) => {
        response.write('begun, ')
        running.push(response)
      },
    })
    const socket = await dial()
    socket.write('GET / HTTP/1.1\r\nhost: a.example\r\n\r\n')
    await once(socket, 'readable')
    const closed = server.close(5_000)
    for (const response of running) response.end('and ended')
    assert.equal(await closed, 0)
    assert.match(await text(socket), /and ended/)
  })
})

async function setup(
  t: TestContext,
  { fallback = true, ...options }: Partial<HttpServerOptions> & { fallback?: boolean } = {},
) {
  const names = ['a.example', 'b.example', 'fallback.example']
  const [a, b, other] = await Promise.all(names.map((name) => makeCertificate([name])))
  assert.ok(a && b && other)
  const contexts = new Map([
    ['a.example', createSecureContext(a)],
    ['b.example', createSecureContext(b)],
  ])
  const server = createHttpServer({
    onRequest: ({ url }, response) => void response.end(`got ${url}`),
    ...options,
    tls: {
      contextFor: async (name) => {
        if (name === 'broken.example') throw new Error('the disk is gone')
        return contexts.get(name) ?? null
      },
      onFallback: (use) => (fallback ? use(other) : undefined),
    },
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  const open = new Set<Socket>()
  t.after(async () => {
    for (const socket of open) socket.destroy()
    await server.close(0)
  })
  const dial = async (how: ConnectionOptions = {}): Promise<TLSSocket> => {
    const to = { host: '127.0.0.1', port, servername: 'a.example', rejectUnauthorized: false }
    const socket = connect({ ...to, ...how })
    open.add(socket)
    await once(socket, 'secureConnect')
    return socket.on('error', () => {})
  }
  const plain = (): Socket => {
    const socket = connectPlainly(port, '127.0.0.1').on('error', () => {})
    open.add(socket)
    return socket
  }
  return { server, dial, plain }
}
