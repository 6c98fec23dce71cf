/** For tests of tunnels: a gateway and a node that are linked, both ends of a tunnel, and dials by hand. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { FRAME } from '../../core/protocol/frame.ts'
import {
  openTunnelSchema,
  TUNNEL_DOMAIN,
  TUNNEL_ID_HEADER,
  TUNNEL_PATH,
  TUNNEL_SIGNATURE_HEADER,
  tunnelText,
  type OpenTunnel,
  type TunnelPurpose,
} from '../../core/protocol/tunnel.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import type { NodeLink } from './node-link.ts'
import {
  Journal,
  linkRaw,
  startGateway,
  startNode,
  type RawPeer,
  type TestGateway,
  type TestNode,
} from './test-kit.ts'
import type { IncomingTunnel } from './tunnel-dialler.ts'
import type { TunnelLimits } from './tunnel-gate.ts'
import type { Millis } from '../../core/base/time.ts'

export const WEB: TunnelPurpose = {
  kind: 'tcp',
  lease: 'lease_1',
  epoch: 1,
  service: 'web',
  replica: 0,
  port: 80,
}

export type TunnelSetup = {
  readonly gateway: TestGateway
  readonly node: TestNode
  readonly link: NodeLink
  /** What the node was asked for. */
  readonly requests: Journal<IncomingTunnel>
  /** Opens a tunnel and accepts it: the gateway's end and the node's. */
  readonly open: () => Promise<{ near: Duplex; far: Duplex }>
}

export async function setup(
  t: TestContext,
  tunnelLimits: Partial<TunnelLimits> = {},
): Promise<TunnelSetup> {
  const gateway = await startGateway({ tunnelLimits })
  t.after(() => gateway.close())
  const requests = new Journal<IncomingTunnel>()
  const onTunnel = (request: IncomingTunnel): void => requests.add(request)
  const node = startNode(gateway.url, { onTunnel, random: () => 0 })
  t.after(() => node.client.close())
  const link = await gateway.linked(node.identity.id)
  return {
    gateway,
    node,
    link,
    requests,
    async open() {
      const asked = requests.all.length
      const opening = link.openTunnel(WEB)
      const request = (await requests.count(asked + 1))[asked]
      assert.ok(request)
      const [near, far] = await Promise.all([opening, request.accept()])
      return { near, far }
    },
  }
}

/** What a node moved by hand was asked for, the first time. */
export async function askedBy(peer: RawPeer): Promise<OpenTunnel> {
  const { payload } = await peer.frames.find(({ type }) => type === FRAME.OPEN_TUNNEL)
  return openTunnelSchema.parse(JSON.parse(payload.toString()))
}

/** The headers of an honest dial. */
export function proofOf(
  { tunnel, secret }: OpenTunnel,
  node: Identity,
  gateway: TestGateway,
): Record<string, string> {
  const text = tunnelText(gateway.identity.id, tunnel, secret)
  return {
    authorization: `Bearer ${secret}`,
    [TUNNEL_ID_HEADER]: tunnel,
    [TUNNEL_SIGNATURE_HEADER]: node.sign(TUNNEL_DOMAIN, text),
  }
}

/** Dials by hand: the open WebSocket, or the status it was refused with. */
export async function dialTunnel(
  gateway: TestGateway,
  headers: Record<string, string>,
): Promise<WebSocket | number> {
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}${TUNNEL_PATH}`, { headers })
  ws.on('error', () => {})
  const refused = new Promise<number>((resolve) => {
    ws.on('unexpected-response', (request, { statusCode = 0 }) => {
      request.destroy()
      resolve(statusCode)
    })
  })
  return Promise.race([once(ws, 'open').then(() => ws), refused])
}

/** A node moved by hand whose dial was taken: the gateway's end, and the WebSocket at the node's. */
export async function dialled(t: TestContext, now: () => Millis = Date.now) {
  const gateway = await startGateway({ now, limits: { heartbeatMs: 100 } })
  t.after(() => gateway.close())
  const identity = ephemeralIdentity('node')
  const peer = await linkRaw(gateway, identity)
  t.after(() => peer.ws.terminate())
  const opening = peer.link.openTunnel(WEB)
  const proof = proofOf(await askedBy(peer), identity, gateway)
  const ws = await dialTunnel(gateway, proof)
  assert.ok(ws instanceof WebSocket)
  t.after(() => ws.terminate())
  return { gateway, peer, near: await opening, ws, proof }
}
