import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex, duplexPair } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { Fault } from '../../core/base/refusal.ts'
import { createHttpServer } from '../../io/http/http-server.ts'
import { TunnelStream } from '../../io/link/tunnel-stream.ts'
import { FakeLeaseService } from './control/fake-lease-service.ts'
import { NOW, setupControl } from './control/test-network.ts'
import { createLeaseTunnels, MAX_TUNNELS_PER_ACCOUNT } from './lease-tunnels.ts'

const timeout = 20_000
const WEB = { kind: 'tcp', service: 'web', replica: 0, port: 80 }

describe('a tunnel into a lease', () => {
  it('carries bytes both ways, each direction ended on its own', { timeout }, async (t) => {
    const { dial, leases } = await setup(t)
    const [near, far] = await bothEnds(leases, dial)
    near.end(Buffer.alloc(1_000_000, 'a'))
    assert.equal((await allOf(far)).length, 1_000_000)
    far.end('after the other end had ended')
    assert.equal(String(await allOf(near)), 'after the other end had ended')
    assert.deepEqual(leases.wishes, [{ ...WEB, lease: null }])
  })

  it('tells the tenant what the node broke off with', { timeout }, async (t) => {
    const { dial, leases } = await setup(t)
    const [near, , between] = await bothEnds(leases, dial)
    between.destroy(new Fault('path_not_found', 'no /data in web'))
    const [error] = await once(near, 'error')
    assert.ok(error instanceof Fault)
    assert.deepEqual([error.code, error.message], ['path_not_found', 'no /data in web'])
  })

  it('ends at the node when the tenant goes', { timeout }, async (t) => {
    const { dial, leases } = await setup(t)
    const [near, , between] = await bothEnds(leases, dial)
    near.destroy()
    const [error] = await once(between, 'error')
    assert.ok(error instanceof Fault)
    assert.equal(error.code, 'tunnel_aborted')
  })

  it('ends with the gateway, with a reason', { timeout }, async (t) => {
    const { dial, leases, tunnels } = await setup(t)
    const [near] = await bothEnds(leases, dial)
    tunnels.close()
    const [error] = await once(near, 'error')
    assert.ok(error instanceof Fault && error.code === 'shutting_down')
  })

  it('is refused before the upgrade, with status and error', { timeout }, async (t) => {
    const { dial, leases, keyFor, alice, bobs } = await setup(t)
    const refused = async (wish: unknown, change: Dial = {}) => {
      const answer = await dial(wish, change)
      assert.ok(!(answer instanceof Duplex), 'it opened')
      return [answer.status, answer.code]
    }
    const scopeless = await keyFor(alice, { scopes: ['inference'] })
    assert.deepEqual(await refused(WEB, { secret: null }), [401, 'missing_api_key'])
    assert.deepEqual(await refused(WEB, { secret: 'sk-bl-wrong' }), [401, 'invalid_api_key'])
    assert.deepEqual(await refused(WEB, { secret: scopeless.secret }), [403, 'scope_missing'])
    assert.deepEqual(await refused(WEB, { secret: bobs.secret }), [404, 'not_found'])
    assert.deepEqual(await refused(WEB, { id: 'none' }), [404, 'not_found'])
    assert.deepEqual(await refused(undefined), [400, 'missing_parameter'])
    for (const wrong of [{}, { ...WEB, kind: 'sctp' }, { ...WEB, port: 0 }, 'tcp', null, [WEB]])
      assert.deepEqual(await refused(wrong), [400, 'invalid_value'], JSON.stringify(wrong))
    assert.deepEqual(leases.wishes, [], 'no node was asked')
    assert.deepEqual(await refused(WEB), [409, 'tunnel_refused'])
    leases.tunnel = () => Promise.reject(new Fault('port_refused', 'nothing listens at 80'))
    assert.deepEqual(await refused(WEB), [409, 'tunnel_refused'])
    leases.tunnel = () => Promise.reject(new Fault('tunnel_late', 'node_a did not dial'))
    assert.deepEqual(await refused(WEB), [502, 'tunnel_failed'])
    leases.away = new Fault('store_unavailable', 'away')
    assert.deepEqual(await refused(WEB), [503, 'store_unavailable'])
  })

  it('is refused where the gateway has no leases', { timeout }, async (t) => {
    const { dial } = await setup(t, null)
    const answer = await dial(WEB)
    assert.ok(!(answer instanceof Duplex))
    assert.equal(answer.code, 'leases_unavailable')
  })

  it(
    'takes so many of an account, and as many again once they are closed',
    { timeout },
    async (t) => {
      const { dial, leases } = await setup(t)
      const open: TunnelStream[] = []
      leases.tunnel = () => Promise.resolve(duplexPair()[0])
      for (let i = 0; i < MAX_TUNNELS_PER_ACCOUNT; i++) open.push(opened(await dial(WEB)))
      const over = await dial(WEB)
      assert.ok(!(over instanceof Duplex))
      assert.deepEqual([over.status, over.code], [429, 'concurrency_limit_exceeded'])
      for (const one of open) one.destroy()
      let again = await dial(WEB)
      while (!(again instanceof Duplex)) again = await dial(WEB)
      again.destroy()
    },
  )

  it('gives the node back what a tenant did not wait for', { timeout }, async (t) => {
    const { dial, leases } = await setup(t)
    const [between] = duplexPair()
    const asked = new Promise<void>((resolve) => {
      leases.tunnel = () => {
        resolve()
        return new Promise((later) => setTimeout(() => later(between), 100))
      }
    })
    const gone = new AbortController()
    const dialling = dial(WEB, { signal: gone.signal })
    await asked
    gone.abort()
    await dialling
    if (!between.destroyed) await once(between, 'close')
  })

  it('leaves other paths alone', { timeout }, async (t) => {
    const { tunnels } = await setup(t)
    const [socket] = duplexPair()
    for (const url of ['/v1/deployments/a', '/v1/deployments/a/b/tunnel', '/tunnel'])
      assert.equal(
        tunnels.upgrade(Object.assign(Object.create(null), { url }), socket, Buffer.of()),
        false,
      )
  })
})

type Dial = { secret?: string | null; id?: string; signal?: AbortSignal }
type Refused = { status: number; code: string }

async function setup(
  t: TestContext,
  service: FakeLeaseService | null = new FakeLeaseService(() => NOW),
) {
  const leases = service ?? new FakeLeaseService(() => NOW)
  const parts = { ...(await setupControl({ leases: service })) }
  const { alices, alice } = parts
  await leases.deploy(alice.id, 'key_1', {
    sdl: 'services',
    name: 'shop',
    rule: 'cheapest',
    secrets: null,
  })
  const tunnels = createLeaseTunnels({ ...parts.parts, now: Date.now })
  const server = createHttpServer({
    onRequest: (_, response) => void response.end(),
    onUpgrade: (...upgrade) => tunnels.upgrade(...upgrade),
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  t.after(async () => {
    tunnels.close()
    await server.close(0)
  })
  const dial = (wish: unknown, { secret = alices.secret, id = 'shop', signal }: Dial = {}) => {
    const query =
      wish === undefined ? '' : `?wish=${Buffer.from(JSON.stringify(wish)).toString('base64url')}`
    const headers = secret === null ? {} : { authorization: `Bearer ${secret}` }
    const url = `ws://127.0.0.1:${port}/v1/deployments/${id}/tunnel${query}`
    return dialWebSocket(url, headers, signal)
  }
  return { ...parts, leases, tunnels, dial, port }
}

function dialWebSocket(
  url: string,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Promise<TunnelStream | Refused> {
  const ws = new WebSocket(url, { headers })
  signal?.addEventListener('abort', () => ws.terminate())
  return new Promise((resolve) => {
    let tcp: Socket
    ws.on('upgrade', ({ socket }) => (tcp = socket))
    ws.on('open', () =>
      resolve(new TunnelStream(ws, tcp, { idleMs: 60_000, totalMs: 60_000 }, Date.now)),
    )
    ws.on('error', () => resolve({ status: 0, code: 'gone' }))
    ws.on('unexpected-response', (_, response) => {
      void buffer(response).then((body) => {
        const { error } = JSON.parse(String(body))
        resolve({ status: response.statusCode ?? 0, code: error.code })
      })
    })
  })
}

function opened(answer: TunnelStream | Refused): TunnelStream {
  assert.ok(answer instanceof TunnelStream, JSON.stringify(answer))
  return answer.on('error', () => {})
}

/** The tenant's end, the node's, and the gateway's in between. */
async function bothEnds(
  leases: FakeLeaseService,
  dial: (wish: unknown) => Promise<TunnelStream | Refused>,
): Promise<[Duplex, Duplex, Duplex]> {
  const [between, far] = duplexPair()
  leases.tunnel = () => Promise.resolve(between)
  return [opened(await dial(WEB)), far, between]
}

/** To the end of its direction; the other stays open. */
async function allOf(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(chunks)
}
