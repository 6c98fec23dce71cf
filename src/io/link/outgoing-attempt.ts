/** One attempt on a node, seen from the gateway: reads what the node says about it, in order, within its credit. */
import { FRAME, INITIAL_CREDIT_BYTES } from '../../core/protocol/frame.ts'
import { attemptEndSchema, attemptErrorSchema, isAttemptEnd } from '../../core/protocol/link.ts'
import { readJson } from './json-payload.ts'
import type { AttemptHandler, AttemptStream } from './node-link.ts'

/** Grants smaller than this wait: a CREDIT frame per chunk would double the frames. */
const GRANT_BYTES = 64 * 1024

/** What an attempt needs of its link. */
export type AttemptLink = {
  sendCredit(stream: number, bytes: number): void
  /** Sends CANCEL; `forget` also ends the stream here. */
  sendCancel(stream: number, forget: boolean): void
  /** The stream is over: nothing more about it is expected. */
  ended(stream: number): void
}

export class OutgoingAttempt implements AttemptStream {
  readonly #link: AttemptLink
  readonly #stream: number
  /** None once it is over: a table that still has this stream must not keep the whole request alive. */
  #handler: AttemptHandler | null
  #state: 'asked' | 'accepted' | 'over' = 'asked'
  #creditBytes = INITIAL_CREDIT_BYTES
  #ungrantedBytes = 0

  constructor(link: AttemptLink, stream: number, handler: AttemptHandler) {
    this.#link = link
    this.#stream = stream
    this.#handler = handler
  }

  cancel(): void {
    if (this.#state === 'over') return
    // What the node has produced already may still come, although nobody will grant credit for it.
    this.#creditBytes = Infinity
    this.#link.sendCancel(this.#stream, false)
  }

  forget(): void {
    if (this.#state === 'over') return
    this.#finish()
    this.#link.sendCancel(this.#stream, true)
  }

  grant(bytes: number): void {
    if (this.#state === 'over') return
    this.#ungrantedBytes += bytes
    if (this.#ungrantedBytes < GRANT_BYTES) return
    this.#link.sendCredit(this.#stream, this.#ungrantedBytes)
    this.#creditBytes += this.#ungrantedBytes
    this.#ungrantedBytes = 0
  }

  lost(reason: string): void {
    this.#finish()?.lost(reason)
  }

  /** Ends the attempt without the node: it never heard of it. */
  turnAway(message: string): void {
    this.#finish()?.busy({ code: 'link_congested', message, param: null, retryable: true })
  }

  /** Takes a frame of this stream; returns what is malformed about it, or null. */
  receive(type: number, payload: Uint8Array): string | null {
    switch (type) {
      case FRAME.TOKENS:
        return this.#receiveTokens(payload)
      case FRAME.ACCEPT:
        return this.#receiveAccept()
      case FRAME.VECTOR:
        return this.#receiveVector(payload)
      case FRAME.END:
        return this.#receiveEnd(payload)
      case FRAME.BUSY:
      case FRAME.ERROR:
        return this.#receiveError(type, payload)
      default:
        return null
    }
  }

  #receiveTokens(payload: Uint8Array): string | null {
    if (this.#state !== 'accepted') return this.#before('TOKENS')
    this.#creditBytes -= payload.length
    if (this.#creditBytes < 0) return this.#overCredit('TOKENS', payload.length)
    this.#handler?.tokens(payload)
    return null
  }

  #receiveAccept(): string | null {
    if (this.#state !== 'asked') return `a second ACCEPT on stream ${this.#stream}`
    this.#state = 'accepted'
    this.#handler?.accepted()
    return null
  }

  #receiveVector(payload: Uint8Array): string | null {
    if (this.#state !== 'accepted') return this.#before('VECTOR')
    if (payload.length % 4 !== 0 || payload.length < 4) {
      return `VECTOR on stream ${this.#stream} has ${payload.length} bytes: not an index and whole f32s`
    }
    this.#creditBytes -= payload.length - 4
    if (this.#creditBytes < 0) return this.#overCredit('VECTOR', payload.length)
    const bytes = Uint8Array.from(payload) // aligned, and the handler's to keep
    const index = new DataView(bytes.buffer).getUint32(0)
    this.#handler?.vector(index, new Float32Array(bytes.buffer, 4))
    return null
  }

  #receiveEnd(payload: Uint8Array): string | null {
    if (this.#state !== 'accepted') return this.#before('END')
    const end = readJson(attemptEndSchema, payload, isAttemptEnd)
    if (end instanceof Error) return `END on stream ${this.#stream}: ${end.message}`
    this.#link.ended(this.#stream)
    this.#finish()?.end(end)
    return null
  }

  #receiveError(type: typeof FRAME.BUSY | typeof FRAME.ERROR, payload: Uint8Array): string | null {
    const busy = type === FRAME.BUSY
    // After ACCEPT a BUSY would have the tenant's answer begun twice.
    if (busy && this.#state !== 'asked') return `BUSY after ACCEPT on stream ${this.#stream}`
    const error = readJson(attemptErrorSchema, payload)
    if (error instanceof Error)
      return `${busy ? 'BUSY' : 'ERROR'} on stream ${this.#stream}: ${error.message}`
    this.#link.ended(this.#stream)
    const handler = this.#finish()
    if (busy) handler?.busy(error)
    else handler?.error(error)
    return null
  }

  /** Whom to tell how it ended. */
  #finish(): AttemptHandler | null {
    const handler = this.#handler
    this.#state = 'over'
    this.#handler = null
    return handler
  }

  #before(frame: string): string {
    return `${frame} before ACCEPT on stream ${this.#stream}`
  }

  #overCredit(frame: string, bytes: number): string {
    return `${frame} of ${bytes} bytes on stream ${this.#stream} is ${-this.#creditBytes} bytes over its credit`
  }
}
