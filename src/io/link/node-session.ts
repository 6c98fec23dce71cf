/** One standing link at the node: takes REQUESTs together, hands out attempts, beats, and answers. */
import { FRAME } from '../../core/protocol/frame.ts'
import { leaseCommandSchema, type LeaseCommand } from '../../core/protocol/lease-control.ts'
import { HEARTBEAT_MS, type Heartbeat } from '../../core/protocol/link.ts'
import { payoutNewsSchema, type PayoutNews } from '../../core/protocol/payout.ts'
import { regionNewsSchema, type RegionNews } from '../../core/protocol/region.ts'
import { receiptsAckSchema } from '../../core/protocol/receipt.ts'
import { openTunnelSchema, type OpenTunnel } from '../../core/protocol/tunnel.ts'
import type { Millis } from '../../core/base/time.ts'
import { BodyAssembly, type WholeRequest } from './body-assembly.ts'
import type { CloseReason } from './close-reason.ts'
import { SessionAttempt, type AttemptSession, type IncomingAttempt } from './incoming-attempt.ts'
import { readJson } from './json-payload.ts'
import type { LinkSocket, LinkSocketOwner } from './link-socket.ts'
import { SilenceJudge } from './silence.ts'

export type SessionEvents = {
  attempt(attempt: IncomingAttempt): void
  receiptsAcknowledged(receipts: readonly string[]): void
  payoutNews(news: PayoutNews): void
  regionNews(news: RegionNews): void
  openTunnel(open: OpenTunnel): void
  lease(command: LeaseCommand): void
  load(): Heartbeat
  now(): Millis
  /** Read at each REQUEST: a draining node says busy. */
  draining(): boolean
  closed(reason: CloseReason): void
}

/** Requests of all streams that are not whole yet: eight of the largest. */
const MAX_HELD_BYTES = 128 * 1024 * 1024
/** More attempts than any node has slots and queue for. */
const MAX_ATTEMPTS = 8192
const PING_BYTES = 8
const PING = Buffer.alloc(PING_BYTES)
/** After so many beats without a word the gateway is asked for one. */
const QUIET_BEATS = 1.5

export class NodeSession implements LinkSocketOwner, AttemptSession {
  readonly socket: LinkSocket
  readonly #events: SessionEvents
  readonly #attempts = new Map<number, SessionAttempt>()
  readonly #assembling = new Map<number, BodyAssembly>()
  readonly #waiting = new Set<SessionAttempt>()
  readonly #beatMs: number
  readonly #silence: SilenceJudge
  readonly #ticker: NodeJS.Timeout

  constructor(socket: LinkSocket, events: SessionEvents, heartbeatMs: number = HEARTBEAT_MS) {
    this.socket = socket
    this.#events = events
    this.#beatMs = heartbeatMs
    this.#silence = new SilenceJudge(events.now(), heartbeatMs)
    this.#ticker = setInterval(() => this.#beat(), heartbeatMs)
    socket.writeJson(FRAME.HEARTBEAT, 0, events.load())
    if (events.draining()) socket.write(FRAME.DRAIN, 0)
  }

  frame(type: number, stream: number, payload: Uint8Array): void {
    const problem =
      stream === 0 ? this.#control(type, payload) : this.#streamFrame(type, stream, payload)
    if (problem !== null) this.socket.close('link_malformed_frame', problem)
  }

  refill(): boolean {
    for (const attempt of this.#waiting) {
      this.#waiting.delete(attempt)
      if (!attempt.pump()) break // it put itself last in the row again
    }
    return this.#waiting.size > 0
  }

  closed(reason: CloseReason): void {
    clearInterval(this.#ticker)
    this.#assembling.clear()
    this.#waiting.clear()
    for (const attempt of this.#attempts.values()) attempt.lost()
    this.#attempts.clear()
    this.#events.closed(reason)
  }

  waits(attempt: SessionAttempt): void {
    this.#waiting.add(attempt)
    this.socket.flushLater()
  }

  ended(stream: number): void {
    this.#attempts.delete(stream)
  }

  #control(type: number, payload: Uint8Array): string | null {
    switch (type) {
      case FRAME.PING:
        if (payload.length !== PING_BYTES)
          return `PING of ${payload.length} bytes, not ${PING_BYTES}`
        this.socket.write(FRAME.PONG, 0, payload)
        return null
      case FRAME.RECEIPTS_ACK: {
        const ack = readJson(receiptsAckSchema, payload)
        if (ack instanceof Error) return `RECEIPTS_ACK: ${ack.message}`
        this.#events.receiptsAcknowledged(ack.receipts)
        return null
      }
      case FRAME.OPEN_TUNNEL: {
        const open = readJson(openTunnelSchema, payload)
        if (open instanceof Error) return `OPEN_TUNNEL: ${open.message}`
        this.#events.openTunnel(open)
        return null
      }
      case FRAME.IOU: {
        // One that this node does not understand changes nothing: it keeps the last one that it did.
        const news = readJson(payoutNewsSchema, payload)
        if (!(news instanceof Error)) this.#events.payoutNews(news)
        return null
      }
      case FRAME.REGION: {
        // Likewise: links stay as they are.
        const news = readJson(regionNewsSchema, payload)
        if (!(news instanceof Error)) this.#events.regionNews(news)
        return null
      }
      case FRAME.LEASE: {
        const command = readJson(leaseCommandSchema, payload)
        if (command instanceof Error) return `LEASE: ${command.message}`
        this.#events.lease(command)
        return null
      }
      default:
        return null
    }
  }

  #streamFrame(type: number, stream: number, payload: Uint8Array): string | null {
    switch (type) {
      case FRAME.REQUEST:
        return this.#request(stream, payload)
      case FRAME.BODY: {
        const assembly = this.#assembling.get(stream)
        return assembly === undefined ? null : this.#take(stream, assembly, payload)
      }
      case FRAME.CREDIT:
        if (payload.length !== 4) return `CREDIT of ${payload.length} bytes, not 4`
        this.#attempts
          .get(stream)
          ?.addCredit(new DataView(payload.buffer, payload.byteOffset).getUint32(0))
        return null
      case FRAME.CANCEL:
        this.#cancel(stream)
        return null
      default:
        return null
    }
  }

  #request(stream: number, payload: Uint8Array): string | null {
    if (this.#attempts.has(stream) || this.#assembling.has(stream))
      return `a second REQUEST on stream ${stream}`
    return this.#take(stream, new BodyAssembly(), payload)
  }

  #take(stream: number, assembly: BodyAssembly, part: Uint8Array): string | null {
    const whole = assembly.add(part)
    if (whole instanceof Error) return `stream ${stream}: ${whole.message}`
    if (whole !== null) {
      this.#assembling.delete(stream)
      this.#begin(stream, whole)
      return null
    }
    this.#assembling.set(stream, assembly)
    if (this.#heldBytes() > MAX_HELD_BYTES) {
      this.#assembling.delete(stream)
      this.#sayBusy(stream, 'too many bodies are under way')
    }
    return null
  }

  #begin(stream: number, request: WholeRequest): void {
    if (this.#events.draining()) {
      this.#sayBusy(stream, 'the node drains')
      return
    }
    if (this.#attempts.size >= MAX_ATTEMPTS) {
      this.#sayBusy(stream, `${MAX_ATTEMPTS} attempts run`)
      return
    }
    const attempt = new SessionAttempt(this, stream, request)
    this.#attempts.set(stream, attempt)
    this.#events.attempt(attempt)
  }

  #cancel(stream: number): void {
    this.#attempts.get(stream)?.cancel()
    if (!this.#assembling.delete(stream)) return
    this.socket.writeJson(FRAME.ERROR, stream, {
      code: 'cancelled',
      message: 'cancelled before the request was whole',
      param: null,
      retryable: false,
    })
  }

  #sayBusy(stream: number, message: string): void {
    this.socket.writeJson(FRAME.BUSY, stream, {
      code: 'node_busy',
      message,
      param: null,
      retryable: true,
    })
  }

  #heldBytes(): number {
    let bytes = 0
    for (const assembly of this.#assembling.values()) bytes += assembly.heldBytes
    return bytes
  }

  #beat(): void {
    const now = this.#events.now()
    this.#silence.tick(now)
    const quietMs = now - this.socket.lastHeardAt
    if (this.#silence.isGone(this.socket.lastHeardAt)) {
      this.socket.close('link_timeout', `the gateway was silent for ${quietMs} ms`)
      return
    }
    this.socket.writeJson(FRAME.HEARTBEAT, 0, this.#events.load())
    if (quietMs > QUIET_BEATS * this.#beatMs) this.socket.write(FRAME.PING, 0, PING)
  }
}
