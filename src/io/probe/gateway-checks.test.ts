import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { WebSocketServer } from 'ws'
import { encodeFrame, FRAME } from '../../core/protocol/frame.ts'
import { LINK_PATH } from '../../core/protocol/link.ts'
import { checkClock, checkNetwork } from './gateway-checks.ts'
import { lookAtGateway } from './gateway-look.ts'

const timeout = 20_000
const never = new AbortController().signal

describe('checkNetwork and checkClock', () => {
  it('reach the link of a gateway, also below a path', { timeout }, async (t) => {
    const url = await setup(t, {})
    for (const address of [url, `${url}/`, url.replace('http', 'ws'), `${url}/below`]) {
      const look = await lookAtGateway(address, never)
      assert.equal(checkNetwork(look).status, 'ok')
      assert.ok(Number(checkNetwork(look).details['roundTripMs']) > 0)
      assert.equal(checkClock(look).status, 'ok')
    }
  })

  it('tell a clock that drifts from one that is wrong', { timeout }, async (t) => {
    for (const [aheadMs, status, found] of [
      [20_000, 'warn', /(19\.9|20\.\d) s behind/],
      [-120_000, 'fail', /(119\.9|120\.\d) s ahead/],
    ] as const) {
      const clock = checkClock(await lookAtGateway(await setup(t, { aheadMs }), never))
      assert.equal(clock.status, status)
      assert.match(clock.found, found)
      assert.match(clock.fix ?? '', /set-ntp/)
    }
  })

  it('name a gateway of another age', { timeout }, async (t) => {
    const look = await lookAtGateway(await setup(t, { versions: [7] }), never)
    assert.match(checkNetwork(look).found, /versions 7, this node 1/)
    assert.equal(checkNetwork(look).status, 'fail')
  })

  it('name a server without a link, and still read its clock', { timeout }, async (t) => {
    const look = await lookAtGateway(await setup(t, { link: 'none' }), never)
    assert.equal(look.failed?.step, 'link')
    assert.match(checkNetwork(look).fix ?? '', /WebSockets/)
    assert.equal(checkClock(look).status, 'ok')
  })

  it('name a WebSocket that speaks something else', { timeout }, async (t) => {
    const look = await lookAtGateway(await setup(t, { link: 'babble' }), never)
    assert.match(checkNetwork(look).cause ?? '', /does not speak the node link/)
  })

  it('name a port where nobody listens, and a name that nobody has', { timeout }, async (t) => {
    const server = createServer()
    const port = await listen(server)
    server.close()
    await once(server, 'close')
    const gone = await lookAtGateway(`http://127.0.0.1:${port}`, never)
    assert.match(checkNetwork(gone).cause ?? '', /ECONNREFUSED/)
    assert.equal(checkClock(gone).status, 'warn')
    const nameless = await lookAtGateway('http://gateway.invalid', never)
    assert.equal(checkNetwork(nameless).status, 'fail')
    assert.match(checkNetwork(nameless).fix ?? '', /DNS/)
    await assert.rejects(lookAtGateway('gateway', never), { code: 'gateway_address' })
    t.diagnostic(String(checkNetwork(nameless).cause))
  })

  it('warn of a gateway that is far away', () => {
    const far = { origin: 'https://g.example', failed: null, roundTripMs: 900, skewMs: 0 }
    const challenge = { versions: [1], gateway: 'gw', gatewayKey: '', nonce: '', nowMs: 0 }
    assert.equal(checkNetwork({ ...far, challenge }).status, 'warn')
  })
})

type Gateway = {
  readonly aheadMs?: number
  readonly versions?: readonly number[]
  readonly link?: 'none' | 'babble'
}

/** As much of a gateway as the self-test looks at. */
async function setup(t: TestContext, { aheadMs = 0, versions = [1], link }: Gateway) {
  const server = createServer((_, response) => {
    response.end(JSON.stringify({ status: 'ok', nowMs: Date.now() + aheadMs }))
  })
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    if (link === 'none' || !request.url?.endsWith(LINK_PATH))
      return void socket.end('HTTP/1.1 404 Not Found\r\n\r\n')
    sockets.handleUpgrade(request, socket, head, (peer) => {
      const nonce = 'n'.repeat(43)
      const nowMs = Date.now() + aheadMs
      const challenge = { versions, gateway: 'gw_1', gatewayKey: 'k', nonce, nowMs }
      const payload = Buffer.from(JSON.stringify(challenge))
      peer.send(link === 'babble' ? Buffer.from('hello') : encodeFrame(FRAME.CHALLENGE, 0, payload))
    })
  })
  t.after(() => {
    sockets.close()
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${await listen(server)}`
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  return address.port
}
