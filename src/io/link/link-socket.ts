/**
 * One WebSocket that carries frames, the same at both ends: reads whole messages into frames, gathers what is
 * written in a turn into one message, keeps what waits unsent bounded, and closes with a reason.
 */
import type { RawData, WebSocket } from 'ws'
import { reasonOf } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  FRAME,
  FRAME_HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  payloadLimit,
  readFrames,
  type FrameType,
} from '../../core/protocol/frame.ts'
import { linkRefusalSchema, type LinkRefusal } from '../../core/protocol/link.ts'
import { closeFrameOf, reasonOfClose, type CloseReason, type LinkCode } from './close-reason.ts'
import { readJson, writeJson } from './json-payload.ts'
import type { WriteTurn } from './write-turn.ts'

/** Who listens to a socket: first the handshake, then the link. */
export type LinkSocketOwner = {
  /** `payload` is a view that is valid only during the call. */
  frame(type: number, stream: number, payload: Uint8Array): void
  /** Before each message leaves: write what waits for room; true when more is left. */
  refill(): boolean
  /** Once, whoever closed. */
  closed(reason: CloseReason): void
}

/** For `ws`, both ends. Deflate would cost more than it saves on chunks of 30 bytes. */
export const WEBSOCKET_OPTIONS = {
  perMessageDeflate: false,
  skipUTF8Validation: true,
  maxPayload: MAX_MESSAGE_BYTES,
  /** How long a closing peer may take to agree before its socket is destroyed. */
  closeTimeout: 2_000,
}

/** Bodies and waiting tokens are written only up to here, so that a small frame never queues behind more. */
export const SEND_WINDOW_BYTES = 256 * 1024
/** A peer that leaves so much unread is stuck; its work is better done elsewhere. */
export const MAX_UNSENT_BYTES = 16 * 1024 * 1024

const FIRST_MESSAGE_BYTES = 512
const NOTHING = new Uint8Array(0)
const SEND = { binary: true, compress: false }

export class LinkSocket {
  owner: LinkSocketOwner
  lastHeardAt: Millis
  readonly #ws: WebSocket
  readonly #turn: WriteTurn
  readonly #now: () => Millis
  #message: Buffer | null = null
  #length = 0
  #scheduled = false
  #moreWaits = false
  #over = false
  #refusal: LinkRefusal | null = null

  constructor(ws: WebSocket, owner: LinkSocketOwner, turn: WriteTurn, now: () => Millis) {
    this.#ws = ws
    this.owner = owner
    this.#turn = turn
    this.#now = now
    this.lastHeardAt = now()
    ws.on('message', (data, isBinary) => this.#read(data, isBinary))
    ws.on('error', (error) => this.#failed(error))
    ws.on('close', (status, text) =>
      this.#finish(reasonOfClose(status, text.toString(), this.#refusal)),
    )
  }

  /** Bytes that may be written before small frames would have to wait long. */
  get roomBytes(): number {
    return SEND_WINDOW_BYTES - this.unsentBytes
  }

  /** Bytes on their way that the peer's line has not taken yet. */
  get unsentBytes(): number {
    return this.#ws.bufferedAmount + this.#length
  }

  /** Appends a frame to this turn's message. The parts are copied. */
  write(
    type: FrameType,
    stream: number,
    first: Uint8Array = NOTHING,
    second: Uint8Array = NOTHING,
  ): void {
    if (this.#over) return
    const size = first.length + second.length
    if (size > payloadLimit(type)) throw new RangeError(`frame ${type}: ${size} bytes`)
    const message = this.#reserve(FRAME_HEADER_BYTES + size)
    const at = this.#length
    message.writeUInt32BE(size + 5, at)
    message[at + 4] = type
    message.writeUInt32BE(stream, at + 5)
    message.set(first, at + FRAME_HEADER_BYTES)
    if (second.length > 0) message.set(second, at + FRAME_HEADER_BYTES + first.length)
    this.#length = at + FRAME_HEADER_BYTES + size
  }

  writeJson(type: FrameType, stream: number, value: object): void {
    this.write(type, stream, writeJson(value))
  }

  /** Has `flush`, and with it the owner's `refill`, run at the end of this turn. */
  flushLater(): void {
    if (this.#scheduled || this.#over) return
    this.#scheduled = true
    this.#turn.later(this)
  }

  /** Called by the turn. */
  flush(): void {
    if (this.#over) return
    this.#moreWaits = this.owner.refill()
    this.#scheduled = false
    this.#send()
    const unsent = this.#ws.bufferedAmount
    if (unsent > MAX_UNSENT_BYTES) {
      // It reads nothing, so it would not read a reason either.
      this.#ws.terminate()
      this.#finish({
        code: 'link_timeout',
        message: `${unsent} bytes wait unsent, limit ${MAX_UNSENT_BYTES}: the peer does not read`,
        byPeer: false,
      })
    }
  }

  /** Closes with a reason that the peer is told whole; the owner hears it at once. */
  close(code: LinkCode, message: string): void {
    if (this.#over) return
    const reason: CloseReason = { code, message, byPeer: false }
    if (this.#ws.readyState === this.#ws.OPEN) {
      this.writeJson(FRAME.REFUSED, 0, { code, message: message.slice(0, 2000) })
      this.#send()
    }
    const { code: status, text } = closeFrameOf(reason)
    this.#ws.close(status, text)
    this.#finish(reason)
  }

  #reserve(bytes: number): Buffer {
    this.flushLater()
    if (this.#length + bytes > MAX_MESSAGE_BYTES) this.#send()
    const need = this.#length + bytes
    if (this.#message === null) {
      this.#message = Buffer.allocUnsafe(Math.max(need, FIRST_MESSAGE_BYTES))
    } else if (need > this.#message.length) {
      const larger = Buffer.allocUnsafe(
        Math.min(Math.max(need, 2 * this.#message.length), MAX_MESSAGE_BYTES),
      )
      larger.set(this.#message.subarray(0, this.#length))
      this.#message = larger
    }
    return this.#message
  }

  #send(): void {
    const message = this.#message
    if (message === null) return
    const whole = message.subarray(0, this.#length)
    this.#message = null
    this.#length = 0
    this.#ws.send(whole, SEND, this.#sent)
  }

  readonly #sent = (): void => {
    if (this.#moreWaits) this.flushLater()
  }

  #read(data: RawData, isBinary: boolean): void {
    if (this.#over) return
    this.lastHeardAt = this.#now()
    if (!isBinary || !(data instanceof Buffer)) {
      this.close('link_malformed_frame', 'a text message came; the link is binary')
      return
    }
    const problem = readFrames(data, this.#visit)
    if (problem !== null) this.close('link_malformed_frame', problem)
  }

  readonly #visit = (type: number, stream: number, payload: Uint8Array): void => {
    if (this.#over) return
    if (type === FRAME.REFUSED) this.#noteRefusal(payload)
    else this.owner.frame(type, stream, payload)
  }

  #noteRefusal(payload: Uint8Array): void {
    const read = readJson(linkRefusalSchema, payload)
    if (!(read instanceof Error)) this.#refusal = read
  }

  #failed(error: Error): void {
    if (this.#refusal !== null) {
      this.#finish(reasonOfClose(0, '', this.#refusal))
      return
    }
    const code = 'code' in error ? String(error.code) : ''
    const reason =
      code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
        ? ({
            code: 'link_frame_too_large',
            message: `a message is over ${MAX_MESSAGE_BYTES} bytes`,
          } as const)
        : code.startsWith('WS_ERR_')
          ? ({ code: 'link_malformed_frame', message: error.message } as const)
          : ({ code: 'link_lost', message: reasonOf(error) || code } as const)
    this.#finish({ ...reason, byPeer: false })
  }

  #finish(reason: CloseReason): void {
    if (this.#over) return
    this.#over = true
    this.#message = null
    this.owner.closed(reason)
  }
}
