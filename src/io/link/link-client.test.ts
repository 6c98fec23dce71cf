import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FRAME } from '../../core/protocol/frame.ts'
import { ephemeralIdentity } from '../keys/identity.ts'
import { linkUrl } from './link-client.ts'
import { startHandDriven, welcomeByHand } from './hand-kit.ts'
import { Hearing, headerOf, startGateway, startNode } from './test-kit.ts'

const timeout = 60_000
describe('a node and its gateways', { timeout }, () => {
  it('dials again with backoff until the gateway is back, and works again', async (t) => {
    const first = await startGateway()
    const node = startNode(first.url, { random: () => 0.1 })
    t.after(() => node.client.close())
    await node.linked.count(1)
    await first.close()
    await node.unlinked.count(4)
    assert.deepEqual(
      node.unlinked.all.slice(0, 4).map(({ retryInMs }) => retryInMs),
      [20, 40, 80, 160],
    )
    assert.match(node.unlinked.all[1]?.reason ?? '', /^link_lost: .*ECONNREFUSED/)
    const second = await startGateway({ port: first.port })
    t.after(() => second.close())
    const link = await second.linked(node.identity.id)
    await node.linked.count(2)
    const heard = new Hearing()
    link.open(headerOf('att_1', new Uint8Array(0)), new Uint8Array(0), heard)
    const [attempt] = await node.attempts.count(1)
    attempt?.end({ finish: 'stop', inputTokens: 0, outputTokens: 0 })
    assert.equal(await heard.over(), 'end stop 0')
  })

  it('serves several gateways at once, each with its own credit and fate', async (t) => {
    const gateways = await Promise.all([startGateway(), startGateway(), startGateway()])
    const identity = ephemeralIdentity('node')
    const nodes = gateways.map(({ url }) => startNode(url, { identity }))
    t.after(async () => {
      await Promise.all(nodes.map(({ client }) => client.close()))
      await Promise.all(gateways.slice(1).map((gateway) => gateway.close()))
    })
    await Promise.all(gateways.map((gateway) => gateway.linked(identity.id)))
    await gateways[0]?.close()
    await nodes[0]?.unlinked.count(1)
    assert.deepEqual(
      nodes.map(({ client }) => client.gateway),
      [null, gateways[1]?.identity.id, gateways[2]?.identity.id],
    )
  })

  it('waits a minute after a refusal that only a person can heal', async (t) => {
    const gateway = await startGateway()
    const node = startNode(gateway.url, { now: () => Date.now() - 120_000 })
    t.after(async () => {
      await node.client.close()
      await gateway.close()
    })
    const [{ code, message } = { code: '', message: '' }] = await node.refused.count(1)
    assert.equal(code, 'link_clock_skew')
    assert.match(message, /set the node's clock/)
    assert.deepEqual(await node.unlinked.count(1), [
      { reason: `${code}: ${message}`, retryInMs: 60_000 },
    ])
    assert.equal(node.client.state, 'waiting')
    assert.equal(
      node.client.sendReceipts({ signedAtMs: 1, signature: '', receipts: ['{}'] }),
      false,
    )
  })

  it('does not take turns with another process that has its key', async (t) => {
    const gateway = await startGateway()
    const identity = ephemeralIdentity('node')
    const first = startNode(gateway.url, { identity })
    await first.linked.count(1)
    const second = startNode(gateway.url, { identity })
    t.after(async () => {
      await Promise.all([first.client.close(), second.client.close()])
      await gateway.close()
    })
    const [refused] = await first.refused.count(1)
    assert.equal(refused?.code, 'link_replaced')
    assert.equal(first.unlinked.all[0]?.retryInMs, 60_000)
  })

  it('names both versions when it shares none with the gateway', async (t) => {
    const { node, peer } = await setup(t)
    peer.send(FRAME.CHALLENGE, 0, {
      versions: [7, 8],
      gateway: 'gw_1',
      gatewayKey: 'key',
      nonce: 'n'.repeat(43),
      nowMs: 0,
    })
    const [refused] = await node.refused.count(1)
    assert.equal(refused?.code, 'link_version_unsupported')
    assert.match(refused?.message ?? '', /7, 8, this node 1/)
    assert.match((await peer.closed).text, /^link_version_unsupported: /)
  })

  it('leaves a gateway that falls silent, and dials anew', async (t) => {
    const { node, dialled, peer } = await setup(t)
    await welcomeByHand(peer, 100)
    await node.linked.count(1)
    await peer.frames.find(({ type }) => type === FRAME.PING)
    const [lost] = await node.unlinked.count(1)
    assert.match(lost?.reason ?? '', /^link_timeout: the gateway was silent for \d+ ms/)
    await dialled()
  })

  it('stays with a gateway that has nothing to say but answers', async (t) => {
    const { node, peer } = await setup(t)
    await welcomeByHand(peer, 100)
    const pings = () => peer.frames.all.filter(({ type }) => type === FRAME.PING).length
    for (let answered = 1; answered <= 3; answered++) {
      await peer.frames.find(() => pings() >= answered)
      peer.send(FRAME.PONG, 0, new Uint8Array(8))
    }
    assert.deepEqual(node.unlinked.all, [])
  })

  it('says busy when bodies under way would take too much memory', async (t) => {
    const { node, peer } = await setup(t)
    await welcomeByHand(peer, 100)
    for (let stream = 1; stream <= 17; stream++) {
      const header = Buffer.from(
        JSON.stringify({ ...headerOf('att', new Uint8Array(0)), bodyBytes: 8 * 1024 * 1024 }),
      )
      const length = Buffer.alloc(4)
      length.writeUInt32BE(header.length)
      peer.send(FRAME.REQUEST, stream, Buffer.concat([length, header, Buffer.from('begun')]))
    }
    const busy = await peer.frames.find(({ type }) => type === FRAME.BUSY)
    assert.ok(busy.stream >= 16)
    peer.send(FRAME.BODY, busy.stream, Buffer.from('more')) // ignored: the stream is over
    assert.equal(node.client.state, 'linked')
  })

  it('says which request it cannot read', async (t) => {
    const { peer } = await setup(t)
    await welcomeByHand(peer, 100)
    peer.send(FRAME.REQUEST, 3, Buffer.from([0, 0, 0, 2, 123, 125]))
    assert.match(
      (await peer.closed).text,
      /^link_malformed_frame: stream 3: attempt header: attempt/,
    )
  })

  it('finds the link behind any form of the gateway url', () => {
    assert.equal(linkUrl('http://gw:80'), 'ws://gw/v1/nodes/link')
    assert.equal(linkUrl('https://gw.example/'), 'wss://gw.example/v1/nodes/link')
    assert.equal(linkUrl('wss://gw.example/base/#x'), 'wss://gw.example/base/v1/nodes/link')
  })
})

/** A node that dialled a gateway moved by hand. */
async function setup(t: { after(fn: () => Promise<void>): void }) {
  const { node, dialled, close } = await startHandDriven()
  t.after(close)
  return { node, dialled, peer: await dialled() }
}
