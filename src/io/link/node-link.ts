/** The gateway's view of one linked node, and of one attempt running on it. `link-server.ts` makes them. */
import type { Duplex } from 'node:stream'
import type {
  AttemptEnd,
  AttemptError,
  AttemptHeader,
  Heartbeat,
} from '../../core/protocol/link.ts'
import type { LeaseCommand, LeaseReport } from '../../core/protocol/lease-control.ts'
import type { Offer, SignedOffer } from '../../core/protocol/offer.ts'
import type { PayoutNews, SignedPayout } from '../../core/protocol/payout.ts'
import type { RegionNews } from '../../core/protocol/region.ts'
import type { ReceiptBatch } from '../../core/protocol/receipt.ts'
import type { TunnelPurpose } from '../../core/protocol/tunnel.ts'
import type { Millis } from '../../core/base/time.ts'

/** What an attempt's stream reports. After `busy`, `end`, `error` or `lost` nothing more comes. */
export type AttemptHandler = {
  accepted(): void
  busy(error: AttemptError): void
  /** Raw TOKENS payload, a view valid only during the call. */
  tokens(payload: Uint8Array): void
  vector(index: number, vector: Float32Array): void
  end(end: AttemptEnd): void
  error(error: AttemptError): void
  /** The link closed under the attempt. */
  lost(reason: string): void
}

export type AttemptStream = {
  /** Tells the node to stop; an end or error still follows, unless `forget` was asked. */
  cancel(): void
  /** Cancels, and ignores whatever this node still says about the attempt. */
  forget(): void
  /** Lets the node send so many more bytes: call it as bytes leave towards the tenant. */
  grant(bytes: number): void
}

export type NodeLink = {
  readonly link: string
  readonly node: string
  readonly nodeKey: string
  readonly linkedAt: Millis
  /** The standing offer and the bytes the node signed. */
  readonly offer: Offer
  readonly signedOffer: SignedOffer
  /** Where it wants its earnings, by its signature of this link's HELLO; null: it did not say. */
  readonly payout: SignedPayout | null
  readonly heartbeat: Heartbeat | null
  /** When anything at all last came in. */
  readonly lastHeardAt: Millis
  readonly draining: boolean
  open(header: AttemptHeader, body: Uint8Array, handler: AttemptHandler): AttemptStream
  /** Whether the node answers a PING within the time: tells a silent node from a slow model. */
  ping(timeoutMs: number): Promise<boolean>
  /** These receipts are durably committed. */
  acknowledge(receipts: readonly string[]): void
  /**
   * A byte stream to something at the node. Rejects with the signal's reason, or a Fault: `tunnel_limit`,
   * `tunnel_late`, `tunnel_lost`, or a `TunnelRefusalCode` of the node's. Both ends of a stream may end it or
   * destroy it with a Fault, which the other end hears; it outlives the link. `signal` is for the opening only.
   */
  openTunnel(purpose: TunnelPurpose, options?: { signal?: AbortSignal }): Promise<Duplex>
  /**
   * Its answer comes as `leaseReport`; nothing when the link has closed. Throws a RangeError above
   * `MAX_CONTROL_PAYLOAD_BYTES`.
   */
  lease(command: LeaseCommand): void
  /** Nothing when the link has closed. */
  tellPayout(news: PayoutNews): void
  /** Nothing when the link has closed. */
  tellRegion(news: RegionNews): void
  close(reason: string): void
}

export type LinkEvents = {
  linked(link: NodeLink): void
  offerChanged(link: NodeLink): void
  heartbeat(link: NodeLink): void
  draining(link: NodeLink): void
  receipts(link: NodeLink, batch: ReceiptBatch): void
  leaseReport(link: NodeLink, report: LeaseReport): void
  unlinked(link: NodeLink, reason: string): void
}
