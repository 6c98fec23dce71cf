/**
 * The gateway's end of the node link: takes upgrades, proves who dialled, and keeps one link per node.
 * docs/protocol.md describes what travels.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { idFrom } from '../../core/base/id.ts'
import type { Millis } from '../../core/base/time.ts'
import { HANDSHAKE_TIMEOUT_MS, HEARTBEAT_MS, type Hello } from '../../core/protocol/link.ts'
import type { SignedOffer } from '../../core/protocol/offer.ts'
import { TUNNEL_PATH } from '../../core/protocol/tunnel.ts'
import type { Identity } from '../keys/identity.ts'
import type { Logger } from '../telemetry/logger.ts'
import { GatewayHandshake, type HandshakeEvents } from './gateway-handshake.ts'
import { checkHello, checkOffer, checkPayout, type HelloProblem } from './hello-check.ts'
import { LinkedNode, type LinkHouse } from './linked-node.ts'
import { LinkSocket, WEBSOCKET_OPTIONS } from './link-socket.ts'
import type { LinkEvents, NodeLink } from './node-link.ts'
import { isOwnAddress } from './own-address.ts'
import { SignatureQueue } from './signature-queue.ts'
import { SilenceJudge } from './silence.ts'
import { TunnelGate, type TunnelLimits } from './tunnel-gate.ts'
import { WriteTurn } from './write-turn.ts'

export type LinkServerLimits = {
  /** A node beats this often; three beats of silence close its link. */
  readonly heartbeatMs: number
  /** From the upgrade to a valid HELLO. */
  readonly handshakeMs: number
  /** Connections that have not proven their key yet: strangers must not take every socket. */
  readonly handshakes: number
}

export type LinkServer = {
  /** Takes over an HTTP upgrade for LINK_PATH or TUNNEL_PATH; the caller has checked the path. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Node id → its link, live. */
  links(): ReadonlyMap<string, NodeLink>
  /** Closes every link with `shutting_down` and takes no more; attempts are lost. */
  close(): Promise<void>
}

export type LinkServerOptions = {
  readonly identity: Identity
  readonly events: LinkEvents
  readonly now: () => Millis
  readonly logger: Logger
  readonly limits?: Partial<LinkServerLimits>
  readonly tunnelLimits?: Partial<TunnelLimits>
  /**
   * Under which nodes dial this gateway, `host` or `host:port`: one that dialled another is refused. Default: whatever the Host
   * header of the dial says.
   */
  readonly addresses?: readonly string[]
}

const DEFAULT_LIMITS: LinkServerLimits = {
  heartbeatMs: HEARTBEAT_MS,
  handshakeMs: HANDSHAKE_TIMEOUT_MS,
  handshakes: 512,
}

/** Offer sequences remembered after their nodes left, so that none comes back with an older offer. */
const MAX_SEQUENCES = 65_536

export function createLinkServer(options: LinkServerOptions): LinkServer {
  return new LinkGate(options)
}

class LinkGate implements LinkServer, LinkHouse, HandshakeEvents {
  readonly events: LinkEvents
  readonly tunnels: TunnelGate
  readonly #identity: Identity
  readonly #addresses: readonly string[]
  readonly #now: () => Millis
  readonly #logger: Logger
  readonly #limits: LinkServerLimits
  readonly #sockets = new WebSocketServer({ ...WEBSOCKET_OPTIONS, noServer: true })
  readonly #turn = new WriteTurn()
  readonly #signatures = new SignatureQueue()
  readonly #silence: SilenceJudge
  readonly #handshakes = new Set<GatewayHandshake>()
  readonly #links = new Map<string, LinkedNode>()
  /** The newest offer of each node that waits to be checked. */
  readonly #offers = new Map<LinkedNode, SignedOffer>()
  readonly #sequences = new Map<string, number>()
  readonly #ticker: NodeJS.Timeout
  #closing = false

  constructor(options: LinkServerOptions) {
    const { identity, events, now, logger, limits, tunnelLimits, addresses = [] } = options
    this.events = events
    this.tunnels = new TunnelGate(identity, now, tunnelLimits)
    this.#identity = identity
    this.#addresses = addresses
    this.#now = now
    this.#logger = logger
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#silence = new SilenceJudge(now(), this.#limits.heartbeatMs)
    // One timer for all links: thousands of timers would cost more than what they watch.
    this.#ticker = setInterval(() => this.#tick(), this.#limits.heartbeatMs)
  }

  links(): ReadonlyMap<string, NodeLink> {
    return this.#links
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url?.split('?')[0]?.endsWith(TUNNEL_PATH)) {
      this.tunnels.upgrade(request, socket, head)
      return
    }
    if (this.#closing || this.#handshakes.size >= this.#limits.handshakes) {
      socket.on('error', () => {}) // it may go before it hears the answer
      socket.end(
        'HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\r\n',
        () => socket.destroy(),
      )
      return
    }
    this.#sockets.handleUpgrade(request, socket, head, (ws) =>
      this.#greet(ws, { tcp: socket, host: request.headers.host }),
    )
  }

  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#ticker)
    const message = 'the gateway shuts down'
    for (const handshake of this.#handshakes) handshake.socket.close('shutting_down', message)
    for (const node of this.#links.values()) node.refuse('shutting_down', message)
    await this.tunnels.close()
    await new Promise<void>((resolve) => {
      this.#sockets.close(() => resolve())
    })
  }

  hello(handshake: GatewayHandshake, hello: Hello, heardAt: Millis): void {
    this.#signatures.add(() => {
      if (this.#handshakes.has(handshake)) this.#admit(handshake, hello, heardAt)
    })
  }

  failed(handshake: GatewayHandshake, reason: string): void {
    this.#handshakes.delete(handshake)
    this.#logger.info('link.refused', { reason })
  }

  checkOffer(node: LinkedNode, signed: SignedOffer): void {
    const queued = this.#offers.has(node)
    this.#offers.set(node, signed)
    if (!queued) this.#signatures.add(() => this.#replaceOffer(node))
  }

  remove(node: LinkedNode, reason: string): void {
    this.tunnels.unlinked(node.node, reason)
    if (this.#links.get(node.node) === node) this.#links.delete(node.node)
    this.#offers.delete(node)
    this.#sequences.delete(node.node)
    this.#sequences.set(node.node, node.offer.sequence)
    for (const oldest of this.#sequences.keys()) {
      if (this.#sequences.size <= MAX_SEQUENCES) break
      this.#sequences.delete(oldest)
    }
  }

  #greet(ws: WebSocket, dial: { tcp: Duplex; host: string | undefined }): void {
    const now = this.#now()
    const handshake = new GatewayHandshake(this.#identity, dial, this, now)
    this.#handshakes.add(handshake)
    handshake.begin(new LinkSocket(ws, handshake, this.#turn, this.#now), now)
  }

  #admit(handshake: GatewayHandshake, hello: Hello, heardAt: Millis): void {
    const { node, nodeKey } = hello
    const offer =
      checkHello(hello, handshake, heardAt, (address) =>
        isOwnAddress(address, this.#addresses, handshake.host),
      ) ?? checkOffer(hello.offer, node, nodeKey, this.#lastSequenceOf(node))
    const wrong = 'problem' in offer ? offer : checkPayout(hello)
    if ('problem' in offer || wrong !== null) {
      if (wrong !== null) refuseHandshake(handshake, wrong)
      return
    }
    this.#handshakes.delete(handshake)
    handshake.end()
    // Before the new link is known: nobody must see two.
    this.#links.get(node)?.refuse('link_replaced', `${node} linked again, from elsewhere or anew`)
    const linked = new LinkedNode(handshake.socket, this, {
      link: idFrom('link', randomBytes(15)),
      node,
      nodeKey,
      linkedAt: this.#now(),
      offer,
      signedOffer: hello.offer,
      payout: hello.payout ?? null,
    })
    handshake.socket.owner = linked
    handshake.welcome(hello, linked.link, this.#limits.heartbeatMs)
    this.#links.set(node, linked)
    this.tunnels.linked(node)
    this.events.linked(linked)
  }

  #replaceOffer(node: LinkedNode): void {
    const signed = this.#offers.get(node)
    if (signed === undefined) return
    this.#offers.delete(node)
    const offer = checkOffer(signed, node.node, node.nodeKey, node.offer.sequence)
    if ('problem' in offer) node.refuse(offer.problem, offer.message)
    else node.replaceOffer(offer, signed)
  }

  #lastSequenceOf(node: string): number {
    return this.#links.get(node)?.offer.sequence ?? this.#sequences.get(node) ?? 0
  }

  #tick(): void {
    const now = this.#now()
    this.#silence.tick(now)
    this.tunnels.tick(now)
    for (const handshake of this.#handshakes) {
      const waitedMs = now - handshake.startedAt
      if (waitedMs > this.#limits.handshakeMs)
        handshake.socket.close('link_timeout', `no HELLO within ${waitedMs} ms`)
    }
    for (const node of this.#links.values()) {
      if (this.#silence.isGone(node.lastHeardAt))
        node.refuse('link_timeout', `${node.node} was silent for ${now - node.lastHeardAt} ms`)
    }
  }
}

const refuseHandshake = (handshake: GatewayHandshake, { problem, message }: HelloProblem): void =>
  handshake.socket.close(problem, message)
