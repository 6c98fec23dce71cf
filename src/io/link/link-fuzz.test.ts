import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FRAME, MAX_MESSAGE_BYTES } from '../../core/protocol/frame.ts'
import { ephemeralIdentity } from '../keys/identity.ts'
import { message } from './test-messages.ts'
import { startHandDriven, welcomeByHand } from './hand-kit.ts'
import { dialRaw, Hearing, headerOf, linkRaw, startGateway } from './test-kit.ts'

const timeout = 60_000
const RUNS = 150

const messages = fc.array(message, { minLength: 1, maxLength: 5 })

describe('anything on the wire', { timeout }, () => {
  it('from a stranger is refused with a reason, and the gateway goes on', async (t) => {
    const gateway = await setup(t)
    await fc.assert(
      fc.asyncProperty(messages, async (pieces) => {
        const peer = dialRaw(gateway)
        await peer.frames.count(1)
        for (const piece of pieces) peer.ws.send(piece)
        peer.ws.close(1000)
        const { text } = await peer.closed
        assert.match(text, /^($|link_malformed_frame: |link_version)/)
      }),
      { numRuns: RUNS },
    )
    assert.equal(gateway.server.links().size, 0)
    await assertAlive(gateway)
  })

  it('from a linked node ends its link with a reason or changes nothing, and loses no attempt silently', async (t) => {
    const gateway = await setup(t)
    await fc.assert(
      fc.asyncProperty(messages, async (pieces) => {
        const peer = await linkRaw(gateway, ephemeralIdentity('node'))
        const heard = new Hearing()
        heard.tokens = () => {} // the attempt's reader judges tokens, not the link
        peer.link.open(headerOf('att', new Uint8Array(0)), new Uint8Array(0), heard)
        for (const piece of pieces) peer.ws.send(piece)
        peer.ws.close(1000)
        const { text } = await peer.closed
        assert.match(text, /^($|link_malformed_frame: |link_bad_offer: )/)
        await heard.over()
      }),
      { numRuns: RUNS },
    )
    assert.equal(gateway.server.links().size, 0)
    await assertAlive(gateway)
  })

  it('from a gateway ends the link with a reason or changes nothing, and the node goes on', async (t) => {
    const { dialled, node, close } = await startHandDriven()
    t.after(close)
    await fc.assert(
      fc.asyncProperty(messages, fc.boolean(), async (pieces, welcomed) => {
        const peer = await dialled()
        if (welcomed) await welcomeByHand(peer, 60_000)
        for (const piece of pieces) peer.ws.send(piece)
        peer.ws.close(1000)
        const { text } = await peer.closed
        assert.match(text, /^($|link_malformed_frame: |link_version)/)
      }),
      { numRuns: RUNS },
    )
    assert.notEqual(node.client.state, 'closed')
  })

  it('over the message limit closes the link, with bounded memory', async (t) => {
    const gateway = await setup(t)
    const peer = await linkRaw(gateway)
    peer.ws.send(Buffer.alloc(MAX_MESSAGE_BYTES + 1))
    assert.equal((await peer.closed).status, 1009)
    const { detail } = await gateway.events.find(({ kind }) => kind === 'unlinked')
    assert.equal(detail, `link_frame_too_large: a message is over ${MAX_MESSAGE_BYTES} bytes`)
    await assertAlive(gateway)
  })

  it('that nobody knows is ignored: types of tomorrow, streams of yesterday', async (t) => {
    const gateway = await setup(t)
    const peer = await linkRaw(gateway)
    peer.send(99 as 1, 0, Buffer.from('tomorrow'))
    peer.send(FRAME.TOKENS, 4_000_000_000, Buffer.from('yesterday'))
    peer.send(FRAME.END, 12, Buffer.from('not even JSON'))
    peer.send(FRAME.PING, 0, new Uint8Array(8))
    await peer.frames.find(({ type }) => type === FRAME.PONG)
  })

  it('unread by the peer is bounded: a stuck link is cut', async (t) => {
    const gateway = await setup(t)
    const peer = await linkRaw(gateway)
    peer.ws.pause()
    const body = Buffer.alloc(60_000)
    const heard = new Hearing()
    for (let i = 0; i < 1_000; i++) peer.link.open(headerOf(`att_${i}`, body), body, heard)
    assert.match(await heard.over(), /^lost link_timeout: \d+ bytes wait unsent, limit 16777216/)
    assert.equal(gateway.server.links().size, 0)
  })
})

async function assertAlive(gateway: Awaited<ReturnType<typeof startGateway>>): Promise<void> {
  const peer = await linkRaw(gateway)
  peer.send(FRAME.PING, 0, new Uint8Array(8))
  await peer.frames.find(({ type }) => type === FRAME.PONG)
  peer.ws.close()
  await peer.closed
}

async function setup(t: { after(fn: () => Promise<void>): void }) {
  const gateway = await startGateway()
  t.after(() => gateway.close())
  return gateway
}
