/** One linked node at the gateway: its offer and load, and the attempts that run on it. */
import type { Duplex } from 'node:stream'
import { Fault } from '../../core/base/refusal.ts'
import { FRAME } from '../../core/protocol/frame.ts'
import { leaseReportSchema, type LeaseCommand } from '../../core/protocol/lease-control.ts'
import { heartbeatSchema, type AttemptHeader, type Heartbeat } from '../../core/protocol/link.ts'
import { signedOfferSchema, type Offer, type SignedOffer } from '../../core/protocol/offer.ts'
import type { RegionNews } from '../../core/protocol/region.ts'
import type { PayoutNews, SignedPayout } from '../../core/protocol/payout.ts'
import { MAX_RECEIPTS_PER_BATCH, readReceiptBatch } from '../../core/protocol/receipt.ts'
import {
  tunnelRefusedSchema,
  type OpenTunnel,
  type TunnelPurpose,
} from '../../core/protocol/tunnel.ts'
import type { Millis } from '../../core/base/time.ts'
import { BodySender } from './body-sender.ts'
import { reasonFromText, reasonText, type CloseReason, type LinkCode } from './close-reason.ts'
import { readJson, textOf } from './json-payload.ts'
import type { LinkSocket, LinkSocketOwner } from './link-socket.ts'
import type { AttemptHandler, AttemptStream, LinkEvents, NodeLink } from './node-link.ts'
import { OutgoingAttempt, type AttemptLink } from './outgoing-attempt.ts'
import type { AskedNode, TunnelGate } from './tunnel-gate.ts'

/** What all links of a server share. */
export type LinkHouse = {
  readonly events: LinkEvents
  readonly tunnels: TunnelGate
  /** Checks the offer when its turn comes, and hands it over; a bad one closes the link. */
  checkOffer(node: LinkedNode, signed: SignedOffer): void
  /** Before `unlinked` is told. */
  remove(node: LinkedNode, reason: string): void
}

export type Admitted = {
  readonly link: string
  readonly node: string
  readonly nodeKey: string
  readonly linkedAt: Millis
  readonly offer: Offer
  readonly signedOffer: SignedOffer
  readonly payout: SignedPayout | null
}

const MAX_STREAM = 0xffff_ffff
const PING_BYTES = 8
/** As many ids as one RECEIPTS_ACK may hold. */
const MAX_ACKS_PER_FRAME = 4 * MAX_RECEIPTS_PER_BATCH

export class LinkedNode implements NodeLink, LinkSocketOwner, AttemptLink, AskedNode {
  readonly link: string
  readonly node: string
  readonly nodeKey: string
  readonly linkedAt: Millis
  offer: Offer
  signedOffer: SignedOffer
  readonly payout: SignedPayout | null
  heartbeat: Heartbeat | null = null
  draining = false
  readonly #socket: LinkSocket
  readonly #house: LinkHouse
  readonly #attempts = new Map<number, OutgoingAttempt>()
  // An idle link has none of these: thousands of them wait in one process.
  #bodies: BodySender | null = null
  #pings: Map<number, () => void> | null = null
  #acks: string[] | null = null
  #heartbeatText = ''
  #lastStream = 0
  #lastPing = 0
  #closed: CloseReason | null = null

  constructor(socket: LinkSocket, house: LinkHouse, admitted: Admitted) {
    this.#socket = socket
    this.#house = house
    this.link = admitted.link
    this.node = admitted.node
    this.nodeKey = admitted.nodeKey
    this.linkedAt = admitted.linkedAt
    this.offer = admitted.offer
    this.signedOffer = admitted.signedOffer
    this.payout = admitted.payout
  }

  get lastHeardAt(): Millis {
    return this.#socket.lastHeardAt
  }

  open(header: AttemptHeader, body: Uint8Array, handler: AttemptHandler): AttemptStream {
    if (header.bodyBytes !== body.length) {
      throw new RangeError(`bodyBytes is ${header.bodyBytes}, the body has ${body.length}`)
    }
    const stream = this.#freeStream()
    const attempt = new OutgoingAttempt(this, stream, handler)
    const closed = this.#closed
    if (closed !== null) {
      queueMicrotask(() => attempt.lost(reasonText(closed)))
      return attempt
    }
    this.#bodies ??= new BodySender(this.#socket)
    if (this.#bodies.send(stream, header, body)) this.#attempts.set(stream, attempt)
    else queueMicrotask(() => attempt.turnAway(`too many bodies wait for the line of ${this.node}`))
    return attempt
  }

  ping(timeoutMs: number): Promise<boolean> {
    if (this.#closed !== null) return Promise.resolve(false)
    this.#lastPing = (this.#lastPing + 1) % MAX_STREAM
    const nonce = this.#lastPing
    const payload = Buffer.alloc(PING_BYTES)
    payload.writeUInt32BE(nonce, 4)
    this.#socket.write(FRAME.PING, 0, payload)
    const pings = (this.#pings ??= new Map())
    return new Promise((resolve) => {
      const settle = (answered: boolean) => {
        clearTimeout(timer)
        pings.delete(nonce)
        resolve(answered)
      }
      const timer = setTimeout(() => settle(false), timeoutMs)
      pings.set(nonce, () => settle(this.#closed === null))
    })
  }

  acknowledge(receipts: readonly string[]): void {
    if (this.#closed !== null) return
    this.#acks ??= []
    for (const receipt of receipts) this.#acks.push(receipt)
    this.#socket.flushLater()
  }

  async openTunnel(
    purpose: TunnelPurpose,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Duplex> {
    if (this.#closed !== null)
      throw new Fault('tunnel_lost', reasonText(this.#closed), { retryable: true })
    return this.#house.tunnels.open(this, purpose, signal)
  }

  ask(open: OpenTunnel): void {
    this.#socket.writeJson(FRAME.OPEN_TUNNEL, 0, open)
  }

  lease(command: LeaseCommand): void {
    this.#socket.writeJson(FRAME.LEASE, 0, command)
  }

  tellPayout(news: PayoutNews): void {
    this.#socket.writeJson(FRAME.IOU, 0, news)
  }

  tellRegion(news: RegionNews): void {
    this.#socket.writeJson(FRAME.REGION, 0, news)
  }

  close(reason: string): void {
    const { code, message } = reasonFromText(reason)
    this.refuse(code === 'link_lost' ? 'link_closed' : code, message)
  }

  /** Closes with a code of the protocol. */
  refuse(code: LinkCode, message: string): void {
    this.#socket.close(code, message)
  }

  /** The gateway checked it: this is the standing offer now. */
  replaceOffer(offer: Offer, signedOffer: SignedOffer): void {
    if (this.#closed !== null) return
    this.offer = offer
    this.signedOffer = signedOffer
    this.#house.events.offerChanged(this)
  }

  frame(type: number, stream: number, payload: Uint8Array): void {
    // A frame of a stream that is not here is late: its attempt was forgotten.
    const problem =
      stream === 0
        ? this.#control(type, payload)
        : (this.#attempts.get(stream)?.receive(type, payload) ?? null)
    if (problem !== null) this.refuse('link_malformed_frame', problem)
  }

  refill(): boolean {
    if (this.#acks !== null) {
      for (let at = 0; at < this.#acks.length; at += MAX_ACKS_PER_FRAME) {
        const receipts = this.#acks.slice(at, at + MAX_ACKS_PER_FRAME)
        this.#socket.writeJson(FRAME.RECEIPTS_ACK, 0, { receipts })
      }
      this.#acks = null
    }
    return this.#bodies?.refill() ?? false
  }

  closed(reason: CloseReason): void {
    this.#closed = reason
    const text = reasonText(reason)
    this.#house.remove(this, text)
    for (const attempt of this.#attempts.values()) attempt.lost(text)
    this.#attempts.clear()
    for (const settle of this.#pings?.values() ?? []) settle()
    this.#bodies = null
    this.#acks = null
    this.#house.events.unlinked(this, text)
  }

  sendCredit(stream: number, bytes: number): void {
    const payload = Buffer.allocUnsafe(4)
    payload.writeUInt32BE(bytes, 0)
    this.#socket.write(FRAME.CREDIT, stream, payload)
  }

  sendCancel(stream: number, forget: boolean): void {
    this.#bodies?.drop(stream)
    if (!this.#attempts.has(stream)) return
    this.#socket.write(FRAME.CANCEL, stream)
    if (forget) this.#attempts.delete(stream)
  }

  ended(stream: number): void {
    this.#bodies?.drop(stream)
    this.#attempts.delete(stream)
  }

  #control(type: number, payload: Uint8Array): string | null {
    switch (type) {
      case FRAME.HEARTBEAT:
        return this.#heartbeat(payload)
      case FRAME.PING:
        return this.#answerPing(payload)
      case FRAME.PONG:
        return this.#pong(payload)
      case FRAME.RECEIPTS:
        return this.#receipts(payload)
      case FRAME.OFFER:
        return this.#offer(payload)
      case FRAME.TUNNEL_REFUSED:
        return this.#tunnelRefused(payload)
      case FRAME.LEASE_STATE:
        return this.#leaseReport(payload)
      case FRAME.DRAIN:
        this.draining = true
        this.#house.events.draining(this)
        return null
      default:
        return null
    }
  }

  #heartbeat(payload: Uint8Array): string | null {
    // Idle nodes say the same for hours: nothing is parsed, and nothing new grows old in memory, thousands of times a second.
    const text = textOf(payload)
    if (text !== this.#heartbeatText) {
      const heartbeat = readJson(heartbeatSchema, payload)
      if (heartbeat instanceof Error) return `HEARTBEAT: ${heartbeat.message}`
      this.heartbeat = heartbeat
      this.#heartbeatText = text
    }
    this.#house.events.heartbeat(this)
    return null
  }

  #answerPing(payload: Uint8Array): string | null {
    if (payload.length !== PING_BYTES) return `PING of ${payload.length} bytes, not ${PING_BYTES}`
    this.#socket.write(FRAME.PONG, 0, payload)
    return null
  }

  #pong(payload: Uint8Array): string | null {
    if (payload.length !== PING_BYTES) return `PONG of ${payload.length} bytes, not ${PING_BYTES}`
    const nonce = new DataView(payload.buffer, payload.byteOffset).getUint32(4)
    this.#pings?.get(nonce)?.()
    return null
  }

  #receipts(payload: Uint8Array): string | null {
    const batch = readReceiptBatch(textOf(payload))
    if (typeof batch === 'string') return `RECEIPTS: ${batch}`
    this.#house.events.receipts(this, batch)
    return null
  }

  #tunnelRefused(payload: Uint8Array): string | null {
    const refused = readJson(tunnelRefusedSchema, payload)
    if (refused instanceof Error) return `TUNNEL_REFUSED: ${refused.message}`
    this.#house.tunnels.refused(this.node, refused)
    return null
  }

  #leaseReport(payload: Uint8Array): string | null {
    const report = readJson(leaseReportSchema, payload)
    if (report instanceof Error) return `LEASE_STATE: ${report.message}`
    this.#house.events.leaseReport(this, report)
    return null
  }

  #offer(payload: Uint8Array): string | null {
    const signed = readJson(signedOfferSchema, payload)
    if (signed instanceof Error) return `OFFER: ${signed.message}`
    this.#house.checkOffer(this, signed)
    return null
  }

  #freeStream(): number {
    do this.#lastStream = (this.#lastStream % MAX_STREAM) + 1
    while (this.#attempts.has(this.#lastStream))
    return this.#lastStream
  }
}
