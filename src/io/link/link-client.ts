/**
 * The node's end of the link: dials one gateway, proves its key and has the gateway prove its own, takes attempts, and
 * dials again for ever.
 * A node that serves several gateways makes one client for each.
 */
import { WebSocket } from 'ws'
import type { Random } from '../../core/base/random.ts'
import type { Millis } from '../../core/base/time.ts'
import { FRAME } from '../../core/protocol/frame.ts'
import type { LeaseCommand, LeaseReport } from '../../core/protocol/lease-control.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  LINK_PATH,
  type Challenge,
  type Heartbeat,
  type Welcome,
} from '../../core/protocol/link.ts'
import type { SignedOffer } from '../../core/protocol/offer.ts'
import type { PayoutNews, SignedPayout } from '../../core/protocol/payout.ts'
import type { RegionNews } from '../../core/protocol/region.ts'
import { receiptBatchLines, type ReceiptBatch } from '../../core/protocol/receipt.ts'
import { TUNNEL_PATH } from '../../core/protocol/tunnel.ts'
import type { Identity } from '../keys/identity.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Backoff, REFUSED_RETRY_MS } from './backoff.ts'
import { reasonText, type CloseReason } from './close-reason.ts'
import type { IncomingAttempt } from './incoming-attempt.ts'
import { LinkSocket, WEBSOCKET_OPTIONS } from './link-socket.ts'
import { NodeHandshake } from './node-handshake.ts'
import { NodeSession } from './node-session.ts'
import { TunnelDialler, type IncomingTunnel } from './tunnel-dialler.ts'
import { WriteTurn } from './write-turn.ts'

export type LinkClientOptions = {
  /** The gateway: http, https, ws or wss; a path is kept in front of LINK_PATH. */
  readonly url: string
  readonly identity: Identity
  /** A fresh signed offer, for each new link and each `sendOffer`. */
  readonly offer: () => SignedOffer
  /** Where its earnings go on chain; null or left out: nowhere yet. */
  readonly payout?: () => SignedPayout | null
  readonly load: () => Heartbeat
  readonly onAttempt: (attempt: IncomingAttempt) => void
  /** A tunnel is asked for: answer it soon. Default: each is refused as `tunnel_unsupported`. */
  readonly onTunnel?: (request: IncomingTunnel) => void
  /** Default: an `ask` is refused as `lease_unsupported`, the rest ignored. */
  readonly onLease?: (command: LeaseCommand) => void
  /** What the gateway owes, and its signature. Default: ignored. */
  readonly onPayoutNews?: (news: PayoutNews) => void
  /** The gateways of its region that are there now. Default: ignored. */
  readonly onRegionNews?: (news: RegionNews) => void
  readonly onReceiptsAcknowledged: (receipts: readonly string[]) => void
  readonly onLinked: (linked: { gateway: string; gatewayKey: string; link: string }) => void
  /** No link now: it was lost, or could not be made. It is dialled again after so long. */
  readonly onUnlinked: (reason: string, retryInMs: number) => void
  /** It is no gateway to link to, by its word or ours, and only a person can change that: tell the provider. `onUnlinked` follows. */
  readonly onRefused: (code: string, message: string) => void
  readonly now: () => Millis
  readonly random: Random
  readonly logger: Logger
}

export type LinkState = 'connecting' | 'linked' | 'waiting' | 'closed'

export type LinkClient = {
  readonly state: LinkState
  /** The gateway's id while linked. */
  readonly gateway: string | null
  /** False when there is no link, or it is congested: keep the batch and hand it in later. */
  sendReceipts(batch: ReceiptBatch): boolean
  /** False when there is no link, or it is congested: keep what matters and say it later. */
  reportLease(report: LeaseReport): boolean
  /** The offer changed: tells the gateway now. */
  sendOffer(): void
  /** From now on, on this link and later ones: finish what runs, take nothing new. */
  drain(): void
  /** Ends the link and its tunnels, and dials no more. Attempts that run are lost. */
  close(): Promise<void>
}

export function connectToGateway(options: LinkClientOptions): LinkClient {
  return new GatewayDialler(options)
}

/** http → ws, https → wss, and LINK_PATH behind whatever path there is. */
export const linkUrl = (gateway: string): string => dialUrl(gateway, LINK_PATH)

function dialUrl(gateway: string, path: string): string {
  const url = new URL(gateway)
  url.protocol = url.protocol === 'https:' || url.protocol === 'wss:' ? 'wss:' : 'ws:'
  url.pathname = url.pathname.replace(/\/+$/, '') + path
  url.hash = ''
  return url.href
}

/** Refusals that the next try in a second will not heal. */
const UNHEALABLE: ReadonlySet<string> = new Set([
  'link_version_unsupported',
  'link_key_mismatch',
  'link_bad_signature',
  'link_clock_skew',
  'link_bad_offer',
  'link_bad_payout',
  'link_wrong_address',
  'link_gateway_unproven',
  'link_replaced', // another process has this key: taking turns every second helps nobody
])

/** Receipts wait on disk rather than in a line that does not move. */
const MAX_UNSENT_FOR_RECEIPTS_BYTES = 4 * 1024 * 1024
/** Containers can say a lot: their news must not delay tokens by more than this. */
const MAX_UNSENT_FOR_LEASES_BYTES = 1024 * 1024

class GatewayDialler implements LinkClient {
  state: LinkState = 'connecting'
  gateway: string | null = null
  readonly #options: LinkClientOptions
  readonly #url: string
  readonly #turn = new WriteTurn()
  readonly #backoff: Backoff
  readonly #tunnels: TunnelDialler
  #session: NodeSession | null = null
  #ws: WebSocket | null = null
  #timer: NodeJS.Timeout | undefined
  #linkedAt: Millis | null = null
  #draining = false

  constructor(options: LinkClientOptions) {
    this.#options = options
    this.#url = linkUrl(options.url)
    this.#backoff = new Backoff(options.random)
    const { identity, now, onTunnel } = options
    const url = dialUrl(options.url, TUNNEL_PATH)
    this.#tunnels = new TunnelDialler({ url, identity, now, onTunnel })
    this.#dial()
  }

  sendReceipts(batch: ReceiptBatch): boolean {
    const socket = this.#session?.socket
    if (socket === undefined || socket.unsentBytes > MAX_UNSENT_FOR_RECEIPTS_BYTES) return false
    socket.write(FRAME.RECEIPTS, 0, Buffer.from(receiptBatchLines(batch)))
    return true
  }

  reportLease(report: LeaseReport): boolean {
    const socket = this.#session?.socket
    if (socket === undefined || socket.unsentBytes > MAX_UNSENT_FOR_LEASES_BYTES) return false
    socket.writeJson(FRAME.LEASE_STATE, 0, report)
    return true
  }

  sendOffer(): void {
    this.#session?.socket.writeJson(FRAME.OFFER, 0, this.#options.offer())
  }

  drain(): void {
    if (this.#draining) return
    this.#draining = true
    this.#session?.socket.write(FRAME.DRAIN, 0)
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.state = 'closed'
    await this.#tunnels.close()
    const ws = this.#ws
    if (ws === null || ws.readyState === ws.CLOSED) return
    await new Promise<void>((resolve) => {
      ws.once('close', () => resolve())
      if (this.#session === null) ws.terminate()
      else this.#session.socket.close('link_closed', 'the node leaves')
    })
  }

  #dial(): void {
    this.state = 'connecting'
    const { identity, offer, payout, now } = this.#options
    const ws = new WebSocket(this.#url, WEBSOCKET_OPTIONS)
    const handshake = new NodeHandshake({
      url: this.#url,
      identity,
      offer,
      payout: payout ?? (() => null),
      now,
      welcomed: (challenge, welcome) => this.#enter(socket, challenge, welcome),
      closed: (reason) => this.#ended(reason),
    })
    const socket = new LinkSocket(ws, handshake, this.#turn, now)
    handshake.begin(socket)
    this.#ws = ws
    this.#timer = setTimeout(
      () => socket.close('link_timeout', `no WELCOME within ${HANDSHAKE_TIMEOUT_MS} ms`),
      HANDSHAKE_TIMEOUT_MS,
    )
  }

  #enter(socket: LinkSocket, challenge: Challenge, welcome: Welcome): void {
    clearTimeout(this.#timer)
    const {
      load,
      now,
      onAttempt,
      onLease,
      onPayoutNews,
      onRegionNews,
      onReceiptsAcknowledged,
      onLinked,
    } = this.#options
    this.#session = new NodeSession(
      socket,
      {
        attempt: onAttempt,
        receiptsAcknowledged: onReceiptsAcknowledged,
        payoutNews: onPayoutNews ?? (() => {}),
        regionNews: onRegionNews ?? (() => {}),
        lease: onLease ?? ((command) => this.#refuseLease(command)),
        openTunnel: (open) =>
          this.#tunnels.asked(open, challenge, (refused) =>
            socket.writeJson(FRAME.TUNNEL_REFUSED, 0, refused),
          ),
        load,
        now,
        draining: () => this.#draining,
        closed: (reason) => this.#ended(reason),
      },
      welcome.heartbeatMs,
    )
    socket.owner = this.#session
    this.state = 'linked'
    this.gateway = challenge.gateway
    this.#linkedAt = now()
    onLinked({
      gateway: challenge.gateway,
      gatewayKey: challenge.gatewayKey,
      link: welcome.link,
    })
  }

  #refuseLease(command: LeaseCommand): void {
    if (command.kind !== 'ask') return
    const { lease, epoch } = command
    const message = 'this node runs no containers'
    this.reportLease({ kind: 'refused', lease, epoch, code: 'lease_unsupported', message })
  }

  #ended(reason: CloseReason): void {
    clearTimeout(this.#timer)
    const linkedMs = this.#linkedAt === null ? 0 : this.#options.now() - this.#linkedAt
    this.#session = null
    this.#linkedAt = null
    this.gateway = null
    if (this.state === 'closed') return
    this.state = 'waiting'
    const refused = UNHEALABLE.has(reason.code)
    const retryInMs = refused ? REFUSED_RETRY_MS : this.#backoff.nextMs(linkedMs)
    this.#timer = setTimeout(() => this.#dial(), retryInMs)
    this.#options.logger.info('link.lost', { reason: reasonText(reason), retryInMs })
    if (refused) this.#options.onRefused(reason.code, reason.message)
    this.#options.onUnlinked(reasonText(reason), retryInMs)
  }
}
