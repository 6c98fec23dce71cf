/** For tests of the link: a gateway moved by hand, honest or not, and a node that dials it. */
import { WebSocketServer } from 'ws'
import { FRAME } from '../../core/protocol/frame.ts'
import {
  helloSchema,
  WELCOME_DOMAIN,
  welcomeText,
  type Challenge,
  type Hello,
  type Welcome,
} from '../../core/protocol/link.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import type { LinkClientOptions } from './link-client.ts'
import { Journal, portOf, rawPeer, startNode, type RawPeer, type TestNode } from './test-kit.ts'

/** A gateway moved by hand, and a node that dials it at once, whenever its link ends. */
export async function startHandDriven(more: Partial<LinkClientOptions> = {}): Promise<{
  node: TestNode
  server: WebSocketServer
  /** What the node dials. */
  address: string
  /** The node's next connection. */
  dialled: () => Promise<RawPeer>
  close: () => Promise<void>
}> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  const peers = new Journal<RawPeer>()
  server.on('connection', (ws) => peers.add(rawPeer(ws)))
  await new Promise((resolve) => server.once('listening', resolve))
  const address = `127.0.0.1:${portOf(server.address())}`
  const node = startNode(`http://${address}`, { random: () => 0, ...more })
  let taken = 0
  return {
    node,
    server,
    address,
    dialled: async () => {
      taken += 1
      const peer = (await peers.count(taken))[taken - 1]
      if (peer === undefined) throw new Error('a journal counted wrong')
      return peer
    },
    close: async () => {
      await node.client.close()
      for (const ws of server.clients) ws.terminate()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const challengeOf = ({ id, publicKey }: Identity): Challenge => ({
  versions: [1],
  gateway: id,
  gatewayKey: publicKey,
  nonce: 'n'.repeat(43),
  nowMs: 0,
})

/** Says CHALLENGE and waits for the node's HELLO. */
export async function challengeByHand(peer: RawPeer, challenge: Challenge): Promise<Hello> {
  peer.send(FRAME.CHALLENGE, 0, challenge)
  const { payload } = await peer.frames.find(({ type }) => type === FRAME.HELLO)
  return helloSchema.parse(JSON.parse(payload.toString()))
}

/** What an honest gateway answers. */
export function welcomeOf(
  { sign }: Identity,
  challenge: Challenge,
  hello: Hello,
  heartbeatMs = 60_000,
): Welcome {
  const welcome = { link: 'link_1', version: 1, heartbeatMs }
  return { ...welcome, signature: sign(WELCOME_DOMAIN, welcomeText(challenge, hello, welcome)) }
}

/** All that a gateway moved by hand says so that the node believes itself linked. */
export async function welcomeByHand(
  peer: RawPeer,
  heartbeatMs: number,
  identity: Identity = ephemeralIdentity('gw'),
): Promise<void> {
  const challenge = challengeOf(identity)
  const hello = await challengeByHand(peer, challenge)
  peer.send(FRAME.WELCOME, 0, welcomeOf(identity, challenge, hello, heartbeatMs))
}
