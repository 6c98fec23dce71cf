/** A gateway that a node dials is a stranger, too: what it may claim, and what it gets before it has proven its key. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { FRAME, type FrameType } from '../../core/protocol/frame.ts'
import {
  HELLO_DOMAIN,
  WELCOME_DOMAIN,
  welcomeText,
  type Challenge,
  type Hello,
  type Welcome,
} from '../../core/protocol/link.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import {
  challengeByHand,
  challengeOf,
  startHandDriven,
  welcomeByHand,
  welcomeOf,
} from './hand-kit.ts'
import { isOwnAddress } from './own-address.ts'
import { dialRaw, headerOf, helloOf, startGateway, type RawPeer } from './test-kit.ts'

const timeout = 60_000
const honest = ephemeralIdentity('gw')
const rival = ephemeralIdentity('gw')

describe('a gateway that does not prove its key', { timeout }, () => {
  const claims: [string, Partial<Challenge>][] = [
    ["another gateway's id", { gatewayKey: rival.publicKey }],
    ['an id of its own choice', { gateway: 'gw_mine' }],
    ["the id of a node's kind", { gateway: ephemeralIdentity('node').id }],
    ['a key that is none', { gatewayKey: '!' }],
    ['no key', { gatewayKey: '' }],
  ]
  for (const [what, claim] of claims) {
    it(`does not hear HELLO when it claims ${what}`, async (t) => {
      const { node, address, peer } = await setup(t)
      peer.send(FRAME.CHALLENGE, 0, { ...challengeOf(honest), ...claim })
      const { text } = await peer.closed
      assert.match(text, /^link_gateway_unproven: /)
      assert.deepEqual(typesOf(peer), [FRAME.REFUSED])
      const [refused] = await node.refused.count(1)
      assert.equal(refused?.code, 'link_gateway_unproven')
      const claimed = claim.gateway ?? honest.id
      assert.ok(
        refused.message.startsWith(`ws://${address}/v1/nodes/link calls itself ${claimed}, but `),
      )
      assert.match(refused.message, /its key belongs to gw_\w+; ask its operator .* gateways$/)
      assert.equal(node.unlinked.all[0]?.retryInMs, 60_000)
    })
  }

  type Said = { readonly challenge: Challenge; readonly hello: Hello }
  const answer = ({ challenge, hello }: Said) => welcomeOf(honest, challenge, hello)
  const signedBy = (signer: Identity, domain: string, said: Said): Welcome => {
    const { signature: _, ...welcome } = answer(said)
    const text = welcomeText(said.challenge, said.hello, welcome)
    return { ...welcome, signature: signer.sign(domain, text) }
  }
  const welcomes: [string, (said: Said) => Welcome][] = [
    ['signed by another key', (said) => signedBy(rival, WELCOME_DOMAIN, said)],
    ['signed for another purpose', (said) => signedBy(honest, HELLO_DOMAIN, said)],
    ['with no signature in it', (said) => ({ ...answer(said), signature: '' })],
    ['with a link id that was changed', (said) => ({ ...answer(said), link: 'link_2' })],
    ['with a heartbeat that was changed', (said) => ({ ...answer(said), heartbeatMs: 100 })],
    [
      'for another node',
      ({ challenge, hello }) =>
        answer({ challenge, hello: { ...hello, node: ephemeralIdentity('node').id } }),
    ],
    [
      "for another node's nonce",
      ({ challenge, hello }) => answer({ challenge, hello: { ...hello, nonce: 'x'.repeat(43) } }),
    ],
    [
      'for another address',
      ({ challenge, hello }) => answer({ challenge, hello: { ...hello, address: 'gw.example' } }),
    ],
    [
      "for another nonce of the gateway's",
      ({ challenge, hello }) =>
        answer({ challenge: { ...challenge, nonce: 'x'.repeat(43) }, hello }),
    ],
    [
      'of another gateway',
      ({ challenge, hello }) => answer({ challenge: { ...challenge, gateway: rival.id }, hello }),
    ],
  ]
  for (const [what, welcome] of welcomes) {
    it(`is left when it shows a WELCOME ${what}`, async (t) => {
      const { node, address, peer } = await setup(t)
      const challenge = challengeOf(honest)
      const hello = await challengeByHand(peer, challenge)
      peer.send(FRAME.WELCOME, 0, welcome({ challenge, hello }))
      assert.match((await peer.closed).text, /^link_gateway_unproven: /)
      const [refused] = await node.refused.count(1)
      const message = refused?.message ?? ''
      const who = `ws://${address}/v1/nodes/link did not prove to be ${honest.id}: `
      assert.ok(message.startsWith(who), message)
      assert.match(message, /; ask its operator for the right address, or take it out/)
      assert.deepEqual(node.linked.all, [])
      assert.deepEqual(typesOf(peer), [FRAME.HELLO, FRAME.REFUSED])
    })
  }

  it('is left when it shows the WELCOME of an earlier handshake', async (t) => {
    const { node, dialled, peer: first } = await setup(t)
    const challenge = challengeOf(honest)
    const welcome = welcomeOf(honest, challenge, await challengeByHand(first, challenge))
    first.send(FRAME.WELCOME, 0, welcome)
    await node.linked.count(1)
    first.ws.close(1000)
    const second = await dialled()
    await challengeByHand(second, challenge)
    second.send(FRAME.WELCOME, 0, welcome)
    assert.match((await second.closed).text, /^link_gateway_unproven: /)
    assert.equal(node.linked.all.length, 1)
  })

  for (const name of ['link', 'version', 'heartbeatMs', 'signature'] as const) {
    it(`is left when its WELCOME has no ${name}`, async (t) => {
      const { node, peer } = await setup(t)
      const challenge = challengeOf(honest)
      const hello = await challengeByHand(peer, challenge)
      const { [name]: _, ...rest } = welcomeOf(honest, challenge, hello)
      peer.send(FRAME.WELCOME, 0, rest)
      assert.match((await peer.closed).text, new RegExp(`^link_malformed_frame: .*${name}`))
      assert.deepEqual(node.linked.all, [])
    })
  }

  it('gets nothing but HELLO, and is obeyed in nothing', async (t) => {
    const heard: string[] = []
    const { node, peer } = await setup(t, {
      onLease: ({ kind }) => heard.push(kind),
      onTunnel: ({ purpose }) => heard.push(purpose.kind),
      onAttempt: () => heard.push('attempt'),
    })
    const challenge = challengeOf(honest)
    const hello = await challengeByHand(peer, challenge)
    command(peer)
    assert.equal(node.client.sendReceipts({ signedAtMs: 1, signature: '', receipts: [] }), false)
    const at = { lease: 'lease_1', epoch: 1 }
    assert.equal(node.client.reportLease({ kind: 'stopped', ...at, reason: '' }), false)
    node.client.sendOffer()
    node.client.drain()
    peer.send(FRAME.WELCOME, 0, { ...welcomeOf(honest, challenge, hello), link: 'link_2' })
    command(peer)
    await peer.closed
    assert.deepEqual(typesOf(peer), [FRAME.HELLO, FRAME.REFUSED])
    assert.deepEqual(heard, [])
    assert.deepEqual(node.acknowledged.all, [])
    assert.equal(node.client.gateway, null)
  })

  it('is believed when it does', async (t) => {
    const heard: string[] = []
    const { node, peer } = await setup(t, {
      onLease: ({ kind }) => heard.push(kind),
      onTunnel: ({ purpose }) => heard.push(purpose.kind),
      onAttempt: () => heard.push('attempt'),
    })
    await welcomeByHand(peer, 60_000, honest)
    command(peer)
    await node.acknowledged.count(1)
    assert.deepEqual(heard, ['keep', 'tcp', 'attempt'])
    assert.equal(node.client.gateway, honest.id)
  })
})

describe('a machine between node and gateway', { timeout }, () => {
  const node = ephemeralIdentity('node')
  /** Passes on a HELLO of a node that dialled this address. */
  const relayed = async (
    t: TestContext,
    address: string,
    own: readonly string[],
    change: (hello: Hello) => Hello = (hello) => hello,
  ) => {
    const gateway = await startGateway({ addresses: own })
    t.after(() => gateway.close())
    const peer = dialRaw(gateway)
    const { payload } = await peer.frames.find(({ type }) => type === FRAME.CHALLENGE)
    const challenge: Challenge = JSON.parse(payload.toString())
    peer.send(FRAME.HELLO, 0, change(helloOf(node, challenge, address)))
    return { gateway, peer }
  }

  for (const own of [['gw.example'], []]) {
    const by = own.length > 0 ? 'the addresses of the gateway' : 'the Host header'
    it(`gets no WELCOME to pass on, by ${by}`, async (t) => {
      const { gateway, peer } = await relayed(t, 'rival.example', own)
      assert.match((await peer.closed).text, /^link_wrong_address: the node dialled rival\.example/)
      const refused = peer.frames.all.find(({ type }) => type === FRAME.REFUSED)
      assert.match(String(refused?.payload), /no address of gw_\w+: dial .* nodeAddresses/)
      assert.equal(gateway.server.links().size, 0)
    })
  }

  it('cannot write another address or nonce into the HELLO', async (t) => {
    for (const change of [{ address: 'gw.example' }, { nonce: 'x'.repeat(43) }]) {
      const spoil = (hello: Hello) => ({ ...hello, ...change })
      const { peer } = await relayed(t, 'rival.example', ['gw.example'], spoil)
      assert.match((await peer.closed).text, /^link_bad_signature: /)
    }
  })

  it('is none where the node dialled an address of the gateway', async (t) => {
    const { gateway } = await relayed(t, 'gw.example', ['gw.example'])
    await gateway.linked(node.id)
  })

  it('is told by what was dialled, not by what the Host header says, once there are addresses', () => {
    const own = ['gw.example', '10.0.0.7:8420']
    assert.equal(isOwnAddress('GW.example', own, 'proxy'), true)
    assert.equal(isOwnAddress('10.0.0.7:8420', own, undefined), true)
    assert.equal(isOwnAddress('rival.example', own, 'rival.example'), false)
    assert.equal(isOwnAddress('gw.example:8443', own, 'gw.example'), false)
    assert.equal(isOwnAddress('gw.example', [], 'GW.example'), true)
    assert.equal(isOwnAddress('gw.example', [], undefined), false)
  })

  it("is the provider's own on the node's own machine", () => {
    for (const address of ['localhost:8420', 'localhost', '127.0.0.1:1', '127.9.9.9', '[::1]:8420'])
      assert.equal(isOwnAddress(address, ['gw.example'], undefined), true, address)
    for (const address of ['127.0.0.1.rival.example', 'localhost.rival.example', '[::2]', '127.1.'])
      assert.equal(isOwnAddress(address, ['gw.example'], undefined), false, address)
  })
})

const typesOf = (peer: RawPeer): number[] => peer.frames.all.map(({ type }) => type)

/** All kinds of things that a node does for a gateway; RECEIPTS_ACK comes last. */
function command(peer: RawPeer): void {
  const tunnel = { tunnel: 'tun_1', secret: 's'.repeat(43), withinMs: 1000 }
  const at = { lease: 'lease_1', epoch: 1, service: 'web', replica: 0 }
  const header = Buffer.from(JSON.stringify(headerOf('att_1', new Uint8Array(0))))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(header.length)
  const said: [FrameType, number, object][] = [
    [FRAME.LEASE, 0, { kind: 'keep', leases: [] }],
    [FRAME.OPEN_TUNNEL, 0, { ...tunnel, purpose: { kind: 'tcp', ...at, port: 80 } }],
    [FRAME.REQUEST, 1, Buffer.concat([length, header])],
    [FRAME.RECEIPTS_ACK, 0, { receipts: ['rcpt_1'] }],
  ]
  for (const [type, stream, payload] of said) peer.send(type, stream, payload)
}

/** A node that dialled a gateway moved by hand. */
async function setup(t: TestContext, more: Parameters<typeof startHandDriven>[0] = {}) {
  const { node, address, dialled, close } = await startHandDriven(more)
  t.after(close)
  return { node, address, dialled, peer: await dialled() }
}
