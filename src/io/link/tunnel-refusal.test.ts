/** Tunnels that do not come to be, and peers that misbehave. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { Fault } from '../../core/base/refusal.ts'
import { FRAME } from '../../core/protocol/frame.ts'
import {
  MAX_TUNNEL_MESSAGE_BYTES,
  TUNNEL_ANSWER_DOMAIN,
  TUNNEL_ANSWER_HEADER,
  TUNNEL_DOMAIN,
  TUNNEL_ID_HEADER,
  TUNNEL_PATH,
  tunnelAnswerText,
  tunnelRefusedSchema,
} from '../../core/protocol/tunnel.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import { startHandDriven, welcomeByHand } from './hand-kit.ts'
import { Journal, linkRaw, startNode } from './test-kit.ts'
import type { IncomingTunnel } from './tunnel-dialler.ts'
import { askedBy, dialled, dialTunnel, proofOf, setup, WEB } from './tunnel-kit.ts'

const timeout = 60_000

describe('a tunnel that is refused', { timeout }, () => {
  it('says why, in the words of the node', async (t) => {
    const { link, requests } = await setup(t)
    const opening = link.openTunnel(WEB)
    const [request] = await requests.count(1)
    request?.refuse('port_refused', 'nothing listens on port 80')
    await rejects(opening, 'port_refused', /port 80/)
  })

  it('says so when the node does no such thing', async (t) => {
    const { gateway, link } = await setup(t)
    const other = startNode(gateway.url)
    t.after(() => other.client.close())
    const otherLink = await gateway.linked(other.identity.id)
    await rejects(otherLink.openTunnel(WEB), 'tunnel_unsupported', /./)
    assert.ok(gateway.server.links().has(link.node), 'both links go on')
  })

  it('is given up when the node is late; its dial then is too', async (t) => {
    const { link, requests } = await setup(t, { openMs: 30 })
    await rejects(link.openTunnel(WEB), 'tunnel_late', /30 ms/)
    const [request] = await requests.count(1)
    assert.ok(request)
    await assert.rejects(request.accept(), Fault)
  })

  it('is given up when the gateway no longer wants it', async (t) => {
    const { link, requests } = await setup(t)
    const leave = new AbortController()
    const opening = link.openTunnel(WEB, { signal: leave.signal })
    const [request] = await requests.count(1)
    leave.abort(new Error('the tenant left'))
    await assert.rejects(opening, /the tenant left/)
    assert.ok(request)
    await rejects(request.accept(), 'tunnel_lost', /403/)
    await assert.rejects(link.openTunnel(WEB, { signal: leave.signal }), /the tenant left/)
  })

  it('is lost with the link that it was asked on', async (t) => {
    const { link, requests } = await setup(t)
    const opening = link.openTunnel(WEB)
    await requests.count(1)
    link.close('for the test')
    await rejects(opening, 'tunnel_lost', /for the test/)
    await rejects(link.openTunnel(WEB), 'tunnel_lost', /for the test/)
  })

  it('is over the limit of one node until another ends', async (t) => {
    const { link, open } = await setup(t, { perNode: 1 })
    const { near, far } = await open()
    await rejects(link.openTunnel(WEB), 'tunnel_limit', /1 tunnels/)
    near.destroy()
    await once(far, 'error')
    const again = await open()
    again.far.end('room again')
    assert.equal(await text(again.near), 'room again')
  })

  it('is not the business of another node', async (t) => {
    const { gateway, link, requests } = await setup(t)
    const opening = link.openTunnel(WEB)
    const [request] = await requests.count(1)
    assert.ok(request)
    const other = await linkRaw(gateway)
    const { tunnel } = request
    other.send(FRAME.TUNNEL_REFUSED, 0, { tunnel, code: 'tunnel_limit', message: 'no' })
    other.send(FRAME.PING, 0, Buffer.alloc(8))
    await other.frames.find(({ type }) => type === FRAME.PONG) // so the refusal was read
    const [near, far] = await Promise.all([opening, request.accept()])
    far.end('mine')
    assert.equal(await text(near), 'mine')
  })

  it('closes the link when it is malformed, and not when it is from the future', async (t) => {
    const byHand = await startHandDriven()
    t.after(() => byHand.close())
    const peer = await byHand.dialled()
    await welcomeByHand(peer, 2000)
    const open = { tunnel: 'tun_1', secret: 's'.repeat(43), withinMs: 1000 }
    peer.send(FRAME.OPEN_TUNNEL, 0, { ...open, purpose: { kind: 'teleport' }, later: true })
    const { payload } = await peer.frames.find(({ type }) => type === FRAME.TUNNEL_REFUSED)
    const { tunnel, code } = tunnelRefusedSchema.parse(JSON.parse(payload.toString()))
    assert.deepEqual([tunnel, code], ['tun_1', 'tunnel_unsupported'])
    peer.send(FRAME.OPEN_TUNNEL, 0, { ...open, secret: 'short' })
    assert.match((await peer.closed).text, /link_malformed_frame: OPEN_TUNNEL: secret/)
  })

  it('closes the link when the refusal is malformed', async (t) => {
    const { gateway } = await setup(t)
    const peer = await linkRaw(gateway)
    peer.send(FRAME.TUNNEL_REFUSED, 0, { tunnel: 7 })
    assert.match((await peer.closed).text, /link_malformed_frame: TUNNEL_REFUSED: tunnel/)
  })
})

describe('a dial by hand', { timeout }, () => {
  it('opens the tunnel that it proves, once', async (t) => {
    const { gateway, near, ws, proof } = await dialled(t)
    ws.send(Buffer.from('by hand'))
    ws.send(Buffer.alloc(0))
    near.end()
    assert.equal(await text(near), 'by hand')
    assert.equal(await dialTunnel(gateway, proof), 403)
  })

  it('proves nothing with another secret, key, tunnel or gateway', async (t) => {
    const { gateway } = await setup(t)
    const identity = ephemeralIdentity('node')
    const peer = await linkRaw(gateway, identity)
    const opening = peer.link.openTunnel(WEB)
    const asked = await askedBy(peer)
    const honest = proofOf(asked, identity, gateway)
    const elsewhere = { ...gateway, identity: ephemeralIdentity('gw') }
    const spoiled: Record<string, string>[] = [
      proofOf({ ...asked, secret: 'x'.repeat(43) }, identity, gateway),
      { ...honest, authorization: `Bearer ${'x'.repeat(43)}` },
      { ...honest, authorization: '' },
      proofOf(asked, ephemeralIdentity('node'), gateway),
      proofOf(asked, identity, elsewhere),
      { ...honest, [TUNNEL_ID_HEADER]: 'tun_unknown' },
      {},
    ]
    for (const headers of spoiled) assert.equal(await dialTunnel(gateway, headers), 403)
    const ws = await dialTunnel(gateway, honest)
    assert.ok(ws instanceof WebSocket)
    ws.close()
    await opening
  })

  it('is refused as a stranger when it is no WebSocket', async (t) => {
    const { gateway } = await setup(t)
    const identity = ephemeralIdentity('node')
    const peer = await linkRaw(gateway, identity)
    const opening = peer.link.openTunnel(WEB)
    const proof = proofOf(await askedBy(peer), identity, gateway)
    const socket = connect(gateway.port, '127.0.0.1')
    const head = [`GET ${TUNNEL_PATH} HTTP/1.1`, 'host: x', 'connection: upgrade', 'upgrade: x']
    for (const [name, value] of Object.entries(proof)) head.push(`${name}: ${value}`)
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    await rejects(opening, 'tunnel_lost', /no WebSocket/)
    assert.match(await text(socket), /^HTTP\/1\.1 400 /)
  })

  const hostile: [string, (ws: WebSocket) => void, string, RegExp][] = [
    [
      'a message over the limit',
      (ws) => ws.send(Buffer.alloc(MAX_TUNNEL_MESSAGE_BYTES + 1)),
      'tunnel_malformed',
      /size/,
    ],
    ['a text message', (ws) => ws.send('hello'), 'tunnel_malformed', /text/],
    [
      'bytes after the end',
      (ws) => {
        ws.send(Buffer.alloc(0))
        ws.send(Buffer.from('and another thing'))
      },
      'tunnel_malformed',
      /17 bytes came after the end/,
    ],
    ['a connection that breaks', (ws) => ws.terminate(), 'tunnel_lost', /1006/],
    ['a close before the end', (ws) => ws.close(1000), 'tunnel_lost', /1000/],
    [
      'a close with a reason',
      (ws) => ws.close(4000, 'volume_unknown: gone'),
      'volume_unknown',
      /^gone$/,
    ],
  ]
  for (const [what, act, code, message] of hostile) {
    it(`breaks on ${what}`, async (t) => {
      const { near, ws } = await dialled(t)
      near.resume()
      const broken = once(near, 'error')
      act(ws)
      const [error] = await broken
      assert.ok(error instanceof Fault)
      assert.equal(error.code, code)
      assert.match(error.message, message)
    })
  }
})

describe('a tunnel that somebody else answers', { timeout }, () => {
  const gateway = ephemeralIdentity('gw')
  const rival = ephemeralIdentity('gw')
  const secret = 's'.repeat(43)
  type Answer = (node: string) => string | null
  const answerBy =
    (signer: Identity, tunnel = 'tun_1', by = gateway.id, domain = TUNNEL_ANSWER_DOMAIN): Answer =>
    (node) =>
      signer.sign(domain, tunnelAnswerText(by, node, tunnel, secret))

  /** A node that was asked for a tunnel on a proven link, and whose dial then is answered so. */
  const asked = async (t: TestContext, answer: Answer) => {
    const requests = new Journal<IncomingTunnel>()
    const byHand = await startHandDriven({ onTunnel: (request) => requests.add(request) })
    t.after(byHand.close)
    const peer = await byHand.dialled()
    await welcomeByHand(peer, 60_000, gateway)
    byHand.server.on('headers', (headers) => {
      const said = answer(byHand.node.identity.id)
      if (said !== null) headers.push(`${TUNNEL_ANSWER_HEADER}: ${said}`)
    })
    const open = { tunnel: 'tun_1', secret, withinMs: 10_000, purpose: WEB }
    peer.send(FRAME.OPEN_TUNNEL, 0, open)
    const [request] = await requests.count(1)
    assert.ok(request)
    return { request, byHand }
  }

  const wrong: [string, Answer][] = [
    ['without a signature', () => null],
    ['with an empty signature', () => ''],
    ['with the signature of another gateway', answerBy(rival)],
    ['in the name of another gateway', answerBy(rival, 'tun_1', rival.id)],
    ['with the signature for another tunnel', answerBy(gateway, 'tun_2')],
    ['with a signature for another purpose', answerBy(gateway, 'tun_1', gateway.id, TUNNEL_DOMAIN)],
    ['with the signature for another node', () => answerBy(gateway)(ephemeralIdentity('node').id)],
  ]
  for (const [what, answer] of wrong) {
    it(`carries nothing when the answer comes ${what}`, async (t) => {
      const { request, byHand } = await asked(t, answer)
      const taken = byHand.dialled()
      await rejects(
        request.accept(),
        'tunnel_unproven',
        /127\.0\.0\.1:\d+\/v1\/nodes\/tunnel took /,
      )
      const peer = await taken
      await peer.closed
      assert.deepEqual(peer.frames.all, [])
    })
  }

  it('is the tunnel when the gateway of the link answers', async (t) => {
    const { request, byHand } = await asked(t, answerBy(gateway))
    const taken = byHand.dialled()
    const stream = await request.accept()
    stream.on('error', () => {})
    stream.destroy()
    await (
      await taken
    ).closed
  })
})

describe('a node that vanished', { timeout }, () => {
  it('loses its tunnels when it does not link again', async (t) => {
    const clock = { now: Date.now() }
    const { gateway, near, peer, ws } = await dialled(t, () => clock.now)
    peer.ws.terminate()
    await gateway.events.find(({ kind, link }) => kind === 'unlinked' && link === peer.link)
    const broken = once(near, 'error')
    clock.now += 30_001
    const [error] = await broken
    assert.match(String(error), /did not link again/)
    ws.terminate()
  })
})

async function rejects(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof Fault, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, message)
    return true
  })
}
