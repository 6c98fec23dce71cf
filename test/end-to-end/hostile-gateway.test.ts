/** Gateways of rival operators, and the machines between: a node works for no one in another's name. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { WebSocketServer } from 'ws'
import { FRAME } from '../../src/core/protocol/frame.ts'
import type { Challenge } from '../../src/core/protocol/link.ts'
import { ephemeralIdentity } from '../../src/io/keys/identity.ts'
import { challengeByHand, welcomeOf } from '../../src/io/link/hand-kit.ts'
import { dialRaw, helloOf, Journal, portOf, rawPeer } from '../../src/io/link/test-kit.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { smallNetwork } from '../support/small-network.ts'

const limit = { timeout: 60_000 }

describe('a hostile gateway', limit, () => {
  it('is not worked for in the name of another, and the provider hears why', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 0 })
    const { challenge } = await challengeOf(network.url)
    const rival = ephemeralIdentity('gw')
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    server.on('connection', (ws) => {
      const peer = rawPeer(ws)
      void challengeByHand(peer, challenge).then((hello) => {
        peer.send(FRAME.WELCOME, 0, welcomeOf(rival, challenge, hello))
        peer.send(FRAME.LEASE, 0, { kind: 'keep', leases: [] })
      })
    })
    await new Promise((resolve) => server.once('listening', resolve))
    const url = `http://127.0.0.1:${portOf(server.address())}`
    const said = new Journal<string>()
    const home = mkdtempSync(join(tmpdir(), 'baseload-node-'))
    const config = nodeConfig.parse({
      gateways: [url, network.url],
      home,
      models: [{ source: 'words.gguf' }],
      leases: 'off',
    })
    const node = await startNode(config, {
      logger: silentLogger,
      say: (line) => said.add(line),
      engine: createFakeEngine(),
    })
    t.after(async () => {
      await node.stop()
      for (const ws of server.clients) ws.terminate()
      server.close()
      rmSync(home, { recursive: true, force: true })
    })
    const line = await said.find((one) => one.startsWith(`${url} and this node cannot link`))
    assert.match(line, /\(link_gateway_unproven\): ws:\S+ did not prove to be gw_\w+: .* gateways$/)
    await said.find((one) => one === `linked to gateway ${challenge.gateway} at ${network.url}`)
    assert.ok(!said.all.some((one) => one.startsWith('linked') && one.endsWith(url)))
  })

  it('has no proof of another to pass on', limit, async (t) => {
    const config = { publicUrl: 'https://gw.example/', nodeAddresses: ['gw.lan:8420'] }
    const network = await smallNetwork(t, { nodes: 0, config })
    for (const address of ['gw.example', 'gw.lan:8420']) {
      const { peer, challenge } = await challengeOf(network.url)
      peer.send(FRAME.HELLO, 0, helloOf(ephemeralIdentity('node'), challenge, address))
      await peer.frames.find(({ type }) => type === FRAME.WELCOME)
      peer.ws.close()
    }
    const { peer, challenge } = await challengeOf(network.url)
    peer.send(FRAME.HELLO, 0, helloOf(ephemeralIdentity('node'), challenge, 'rival.example'))
    const { status, text } = await peer.closed
    assert.equal(status, 4405)
    assert.match(text, /^link_wrong_address: the node dialled rival\.example/)
    assert.ok(!peer.frames.all.some(({ type }) => type === FRAME.WELCOME))
  })
})

/** A connection to this gateway, and what it asks of it. */
async function challengeOf(url: string) {
  const peer = dialRaw({ port: Number(new URL(url).port) })
  const { payload } = await peer.frames.find(({ type }) => type === FRAME.CHALLENGE)
  const challenge: Challenge = JSON.parse(payload.toString())
  return { peer, challenge }
}
