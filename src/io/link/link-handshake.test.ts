import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { canonicalJson } from '../../core/base/canonical-json.ts'
import { PAYOUT_DOMAIN, type SignedPayout } from '../../core/protocol/payout.ts'
import { FRAME, MAX_MESSAGE_BYTES } from '../../core/protocol/frame.ts'
import { LINK_PATH, MAX_CLOCK_SKEW_MS, type Hello } from '../../core/protocol/link.ts'
import type { Offer } from '../../core/protocol/offer.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import { ephemeralSealingKey } from '../keys/sealed-box.ts'
import { signSealingKey } from '../keys/secret-envelope.ts'
import {
  dialRaw,
  helloRaw,
  linkRaw,
  offerOf,
  signOffer,
  startGateway,
  startNode,
} from './test-kit.ts'

const timeout = 60_000

describe('link handshake', { timeout }, () => {
  it('links a node that proves its key, and shows its offer and load', async (t) => {
    const gateway = await setup(t)
    const node = startNode(gateway.url)
    t.after(() => node.client.close())
    const link = await gateway.linked(node.identity.id)
    assert.equal(link.nodeKey, node.identity.publicKey)
    assert.deepEqual(link.offer, offerOf(node.identity, 1))
    assert.match(link.link, /^link_/)
    await gateway.events.find(({ kind }) => kind === 'heartbeat')
    assert.deepEqual(link.heartbeat, { free: [4], queued: [0] })
    assert.deepEqual(await node.linked.count(1), [
      { gateway: gateway.identity.id, gatewayKey: gateway.identity.publicKey, link: link.link },
    ])
    assert.equal(node.client.state, 'linked')
    assert.equal(node.client.gateway, gateway.identity.id)
  })

  const self = ephemeralIdentity('node')
  const other = ephemeralIdentity('node')
  const spoiled: [string, (hello: Hello) => object, string, RegExp][] = [
    [
      'a version nobody speaks',
      (h) => ({ ...h, version: 99 }),
      'link_version_unsupported',
      /99, this gateway 1/,
    ],
    [
      "another node's name",
      (h) => ({ ...h, node: other.id }),
      'link_key_mismatch',
      new RegExp(self.id),
    ],
    ['a key that is none', (h) => ({ ...h, nodeKey: '!' }), 'link_key_mismatch', /node_/],
    [
      'a forged signature',
      (h) => ({ ...h, signature: other.sign('', 'x') }),
      'link_bad_signature',
      new RegExp(self.id),
    ],
    [
      'a clock too far ahead',
      (h) => ({ ...h, nowMs: h.nowMs + MAX_CLOCK_SKEW_MS + 5_000 }),
      'link_clock_skew',
      /clock says \d{4}-.*gateway's \d{4}-/,
    ],
    [
      'an absurd clock',
      (h) => ({ ...h, nowMs: Number.MAX_SAFE_INTEGER }),
      'link_clock_skew',
      /9007199254740991 ms/,
    ],
    [
      "an offer of another node's signing",
      (h) => ({ ...h, offer: signOffer(other, offerOf(self, 1)) }),
      'link_bad_offer',
      /not signed/,
    ],
    [
      'an offer of another node',
      (h) => ({ ...h, offer: signOffer(self, offerOf(other, 1)) }),
      'link_bad_offer',
      new RegExp(other.id),
    ],
    [
      'an offer that cannot be read',
      (h) => ({ ...h, offer: signOffer(self, { ...offerOf(self, 1), models: 'none' }) }),
      'link_bad_offer',
      /models/,
    ],
    [
      'a sealing key that somebody else signed',
      (h) => ({ ...h, offer: signOffer(self, leasingOffer(self, other)) }),
      'link_bad_offer',
      /the sealing key is not signed by the key of node_/,
    ],
    [
      'a payout address that somebody else signed',
      (h) => ({ ...h, payout: signPayout(other, self.id) }),
      'link_bad_payout',
      /not signed by the key of node_/,
    ],
    [
      'a payout address of another node',
      (h) => ({ ...h, payout: signPayout(self, other.id) }),
      'link_bad_payout',
      new RegExp(other.id),
    ],
    ['a HELLO that cannot be read', () => ({ version: 1 }), 'link_malformed_frame', /HELLO: node/],
  ]
  for (const [what, change, code, message] of spoiled) {
    it(`refuses ${what} with ${code}, whole in a frame and short in the close`, async (t) => {
      const gateway = await setup(t)
      const peer = await helloRaw(gateway, self, change)
      const { status, text } = await peer.closed
      assert.ok(status >= 4000 && text.startsWith(`${code}: `), `${status} ${text}`)
      const refused = peer.frames.all.find(({ type }) => type === FRAME.REFUSED)
      const whole = JSON.parse(refused?.payload.toString() ?? '{}')
      assert.equal(whole.code, code)
      assert.match(whole.message, message)
      assert.equal(gateway.server.links().size, 0)
      assert.equal(gateway.events.all.length, 0)
    })
  }

  it('takes a payout address that the node signed, and does without', async (t) => {
    const gateway = await setup(t)
    const payout = signPayout(self, self.id)
    await helloRaw(gateway, self, (h) => ({ ...h, payout, fieldOfTomorrow: 1 }))
    assert.deepEqual((await gateway.linked(self.id)).payout, payout)
    await helloRaw(gateway, other, (h) => h)
    assert.equal((await gateway.linked(other.id)).payout, null)
  })

  it('refuses an offer older than the last one, also after the node was away', async (t) => {
    const gateway = await setup(t)
    const hello = (sequence: number) =>
      helloRaw(gateway, self, (h) => ({ ...h, offer: signOffer(self, offerOf(self, sequence)) }))
    const first = await hello(5)
    await gateway.linked(self.id)
    first.ws.close()
    await gateway.events.find(({ kind }) => kind === 'unlinked')
    const { text } = await (await hello(4)).closed
    assert.match(text, /^link_bad_offer: offer sequence 4 is below 5/)
    await hello(5)
    await gateway.events.find(({ link }) => link === gateway.server.links().get(self.id))
  })

  it('takes a new offer on a standing link, and closes it for a bad one', async (t) => {
    const gateway = await setup(t)
    const peer = await linkRaw(gateway, self)
    peer.send(FRAME.OFFER, 0, signOffer(self, offerOf(self, 7)))
    await gateway.events.find(({ kind }) => kind === 'offerChanged')
    assert.equal(peer.link.offer.sequence, 7)
    peer.send(FRAME.OFFER, 0, signOffer(self, offerOf(self, 6)))
    assert.match((await peer.closed).text, /^link_bad_offer: offer sequence 6 is below 7/)
  })

  it('lets a second link of the same node replace the first', async (t) => {
    const gateway = await setup(t)
    const first = await linkRaw(gateway, self)
    await helloRaw(gateway, self)
    assert.match((await first.closed).text, /^link_replaced: /)
    await gateway.events.count(3)
    assert.deepEqual(
      gateway.events.all.map(({ kind }) => kind),
      ['linked', 'unlinked', 'linked'],
    )
    assert.notEqual(gateway.server.links().get(self.id), first.link)
  })

  it('closes who says nothing, or anything but HELLO', async (t) => {
    const gateway = await setup(t, { limits: { handshakeMs: 30, heartbeatMs: 20 } })
    assert.match((await dialRaw(gateway).closed).text, /^link_timeout: no HELLO/)
    const impatient = dialRaw(gateway)
    await impatient.frames.count(1)
    impatient.send(FRAME.HEARTBEAT, 0, { free: [], queued: [] })
    assert.match(
      (await impatient.closed).text,
      /^link_malformed_frame: frame type 5 on stream 0 where/,
    )
  })

  it('takes no text, and no more bytes of a stranger than a HELLO may have', async (t) => {
    const gateway = await setup(t)
    const texter = dialRaw(gateway)
    await texter.frames.count(1)
    texter.ws.send('hello')
    assert.match((await texter.closed).text, /^link_malformed_frame: a text message/)
    const greedy = dialRaw(gateway)
    await greedy.frames.count(1)
    greedy.ws.send(new Uint8Array(MAX_MESSAGE_BYTES))
    await greedy.closed
    assert.equal(gateway.server.links().size, 0)
  })

  it('turns strangers away at its limit, and while it shuts down', async (t) => {
    const gateway = await setup(t, { limits: { handshakes: 1 } })
    await dialRaw(gateway).frames.count(1)
    assert.match(await upgradeAnswer(gateway.port), /^HTTP\/1.1 503 .*retry-after: 1/s)
  })

  it('tells every node when it shuts down', async (t) => {
    const gateway = await startGateway()
    const node = startNode(gateway.url)
    t.after(() => node.client.close())
    await gateway.linked(node.identity.id)
    await gateway.close()
    const [unlinked] = await node.unlinked.count(1)
    assert.match(unlinked?.reason ?? '', /^shutting_down: /)
    assert.ok((unlinked?.retryInMs ?? 1e9) <= 200, 'the first retry is quick')
    assert.equal(node.refused.all.length, 0)
  })
})

/** What the HTTP server answers to an upgrade, whole. */
function upgradeAnswer(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `GET ${LINK_PATH} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
          'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      ),
    )
    socket.on('data', (piece) => {
      text += piece.toString()
    })
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}

async function setup(
  t: { after(fn: () => Promise<void>): void },
  more: Parameters<typeof startGateway>[0] & { identity?: Identity } = {},
) {
  const gateway = await startGateway(more)
  t.after(() => gateway.close())
  return gateway
}

/** An offer of leases whose sealing key `signer` vouches for. */
const leasingOffer = (identity: Identity, signer: Identity): Offer => ({
  ...offerOf(identity, 1),
  leases: {
    capacity: {
      runtime: 'docker/27.3.1',
      isolation: 'container',
      cpuArch: 'amd64',
      cpuMilli: 1_000,
      memoryBytes: 1,
      ephemeralBytes: 1,
      persistent: [],
      gpus: [],
      ips: 0,
      attributes: {},
      tier: 'community',
      region: null,
      egress: { mbitPerSecond: 1, gibPerMonth: null },
      cachedImages: [],
      noticeS: 0,
    },
    prices: {
      per: 'hour',
      cpuThread: '1',
      memoryGiB: '0',
      storageGiB: { ephemeral: '0' },
      gpu: {},
      port: '0',
      ip: '0',
    },
    sealing: signSealingKey(signer, ephemeralSealingKey()),
  },
})

function signPayout(by: Identity, node: string): SignedPayout {
  const address = `0x${'a'.repeat(40)}`
  const statement = canonicalJson({ v: 1, node, address, sequence: 1 })
  return { statement, signature: by.sign(PAYOUT_DOMAIN, statement) }
}
