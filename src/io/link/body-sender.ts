/**
 * Sends large REQUESTs in parts, taking turns, and only while the socket has room: a body of megabytes never
 * holds up another stream's small frames, nor another body.
 */
import { FRAME, MAX_FRAME_PAYLOAD_BYTES, type FrameType } from '../../core/protocol/frame.ts'
import type { AttemptHeader } from '../../core/protocol/link.ts'
import type { LinkSocket } from './link-socket.ts'

type Rest = { readonly stream: number; readonly parts: Uint8Array[] }

/** Bodies that may wait for one node's line. More, and the node counts as busy. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

export class BodySender {
  readonly #socket: LinkSocket
  #waiting: Rest[] = []
  #waitingBytes = 0

  constructor(socket: LinkSocket) {
    this.#socket = socket
  }

  /** Writes the REQUEST, or begins it. False: too much waits already, and nothing was written. */
  send(stream: number, header: AttemptHeader, body: Uint8Array): boolean {
    const prefix = prefixOf(header)
    if (prefix.length + body.length <= MAX_FRAME_PAYLOAD_BYTES) {
      this.#socket.write(FRAME.REQUEST, stream, prefix, body)
      return true
    }
    if (this.#waitingBytes + prefix.length + body.length > MAX_WAITING_BYTES) return false
    const rest: Rest = { stream, parts: body.length > 0 ? [prefix, body] : [prefix] }
    this.#waitingBytes += prefix.length + body.length
    this.#sendPart(FRAME.REQUEST, rest)
    if (rest.parts.length > 0) this.#waiting.push(rest)
    return true
  }

  /** Writes parts, one of each body in turn, while there is room. True when more is left. */
  refill(): boolean {
    while (this.#waiting.length > 0 && this.#socket.roomBytes > 0) {
      const rest = this.#waiting.shift()
      if (rest === undefined) break
      this.#sendPart(FRAME.BODY, rest)
      if (rest.parts.length > 0) this.#waiting.push(rest)
    }
    return this.#waiting.length > 0
  }

  /** The stream was cancelled: what is left of its body is not sent. */
  drop(stream: number): void {
    this.#waiting = this.#waiting.filter((rest) => {
      if (rest.stream !== stream) return true
      for (const part of rest.parts) this.#waitingBytes -= part.length
      return false
    })
  }

  #sendPart(type: FrameType, rest: Rest): void {
    const part = rest.parts.shift()
    if (part === undefined) return
    const now = part.subarray(0, MAX_FRAME_PAYLOAD_BYTES)
    if (now.length < part.length) rest.parts.unshift(part.subarray(now.length))
    this.#waitingBytes -= now.length
    this.#socket.write(type, rest.stream, now)
  }
}

/** u32 header length, header JSON. */
function prefixOf(header: AttemptHeader): Buffer {
  const json = JSON.stringify(header)
  // Three bytes a character are enough; what is left of them is not sent.
  const prefix = Buffer.allocUnsafe(4 + 3 * json.length)
  const length = prefix.write(json, 4)
  prefix.writeUInt32BE(length, 0)
  return prefix.subarray(0, 4 + length)
}
