/** One attempt at the node: sends its answer in order, within the gateway's credit and the socket's room. */
import {
  FRAME,
  INITIAL_CREDIT_BYTES,
  MAX_FRAME_PAYLOAD_BYTES,
  type FrameType,
} from '../../core/protocol/frame.ts'
import type { AttemptEnd, AttemptError, AttemptHeader } from '../../core/protocol/link.ts'
import {
  encodeTokenChunks,
  TOKEN_HEADER_BYTES,
  type TokenChunk,
} from '../../core/protocol/token-chunk.ts'
import type { WholeRequest } from './body-assembly.ts'
import { writeJson } from './json-payload.ts'
import type { LinkSocket } from './link-socket.ts'

/** One attempt as the node sees it. After `busy`, `end` or `error`, and after the link is lost, calls do nothing. */
export type IncomingAttempt = {
  readonly header: AttemptHeader
  /** The tenant's body, whole. */
  readonly body: Uint8Array
  /** Aborted by the gateway's CANCEL, and when the link is lost. */
  readonly signal: AbortSignal
  /** Whether the gateway cancelled: then an `end` or `error` is still due. */
  readonly cancelled: boolean
  /** Says that the attempt has a slot. The first `tokens`, `vector` or `end` says so too. */
  accept(): void
  /** No slot; nothing was done. Only before `accept`. */
  busy(error: AttemptError): void
  /** Sends chunks, all of them before the `end`. Wait for the promise, if one comes back, before producing more. */
  tokens(chunks: readonly TokenChunk[]): Promise<void> | void
  vector(index: number, vector: Float32Array): Promise<void> | void
  end(end: AttemptEnd): void
  error(error: AttemptError): void
}

/** What an attempt needs of its session. */
export type AttemptSession = {
  readonly socket: LinkSocket
  /** Its queue waits for room: call `pump` when there is some. */
  waits(attempt: SessionAttempt): void
  ended(stream: number): void
}

const VECTOR_INDEX_BYTES = 4

type Queued = { readonly type: FrameType; readonly payload: Uint8Array }

export class SessionAttempt implements IncomingAttempt {
  readonly header: AttemptHeader
  readonly body: Uint8Array
  cancelled = false
  readonly #session: AttemptSession
  readonly #stream: number
  readonly #abort = new AbortController()
  #state: 'asked' | 'accepted' | 'ended' = 'asked'
  #creditBytes = INITIAL_CREDIT_BYTES
  #queue: Queued[] = []
  #drained: Promise<void> | null = null
  #resolveDrained: (() => void) | null = null

  constructor(session: AttemptSession, stream: number, request: WholeRequest) {
    this.#session = session
    this.#stream = stream
    this.header = request.header
    this.body = request.body
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  accept(): void {
    if (this.#state !== 'asked') return
    this.#state = 'accepted'
    this.#session.socket.write(FRAME.ACCEPT, this.#stream)
  }

  busy(error: AttemptError): void {
    if (this.#state === 'asked') this.#finish(FRAME.BUSY, within(error))
  }

  tokens(chunks: readonly TokenChunk[]): Promise<void> | void {
    if (this.#state === 'ended') return
    this.accept()
    for (const payload of tokenPayloads(chunks)) this.#send(FRAME.TOKENS, payload)
    return this.#settled()
  }

  vector(index: number, vector: Float32Array): Promise<void> | void {
    if (this.#state === 'ended') return
    this.accept()
    const payload = Buffer.allocUnsafe(VECTOR_INDEX_BYTES + vector.byteLength)
    payload.writeUInt32BE(index, 0)
    payload.set(
      new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength),
      VECTOR_INDEX_BYTES,
    )
    this.#send(FRAME.VECTOR, payload)
    return this.#settled()
  }

  end(end: AttemptEnd): void {
    if (this.#state === 'ended') return
    this.accept()
    this.#finish(FRAME.END, end)
  }

  error(error: AttemptError): void {
    if (this.#state !== 'ended') this.#finish(FRAME.ERROR, within(error))
  }

  /** The gateway granted more. */
  addCredit(bytes: number): void {
    this.#creditBytes += bytes
    this.pump()
  }

  /** The gateway wants no more. What was produced already still goes out, so that both count the same tokens. */
  cancel(): void {
    if (this.cancelled) return
    this.cancelled = true
    this.#creditBytes = Infinity
    this.pump()
    this.#abort.abort()
  }

  /** The link is gone: nothing can be sent any more. */
  lost(): void {
    this.#state = 'ended'
    this.#queue = []
    this.#resolve()
    this.#abort.abort()
  }

  /** Sends what credit and room allow, in order. True when all is sent or only credit is lacking. */
  pump(): boolean {
    const { socket } = this.#session
    let sent = 0
    for (const { type, payload } of this.#queue) {
      const cost = costOf(type, payload)
      if (cost > this.#creditBytes) break
      if (socket.roomBytes <= 0) {
        this.#queue.splice(0, sent)
        this.#session.waits(this)
        return false
      }
      this.#write(type, payload, cost)
      sent += 1
    }
    this.#queue.splice(0, sent)
    if (this.#queue.length === 0) this.#resolve()
    return true
  }

  #finish(type: FrameType, payload: AttemptEnd | AttemptError): void {
    this.#state = 'ended'
    this.#send(type, writeJson(payload))
  }

  #send(type: FrameType, payload: Uint8Array): void {
    if (payload.length > MAX_FRAME_PAYLOAD_BYTES)
      throw new RangeError(`one token or vector of ${payload.length} bytes: over a frame's limit`)
    const { socket } = this.#session
    const cost = costOf(type, payload)
    if (this.#queue.length === 0 && cost <= this.#creditBytes && socket.roomBytes > 0) {
      this.#write(type, payload, cost)
      return
    }
    this.#queue.push({ type, payload })
    if (socket.roomBytes <= 0) this.#session.waits(this)
  }

  #write(type: FrameType, payload: Uint8Array, cost: number): void {
    this.#creditBytes -= cost
    this.#session.socket.write(type, this.#stream, payload)
    if (type !== FRAME.TOKENS && type !== FRAME.VECTOR) this.#session.ended(this.#stream)
  }

  #settled(): Promise<void> | void {
    if (this.#queue.length === 0) return
    this.#drained ??= new Promise((resolve) => {
      this.#resolveDrained = resolve
    })
    return this.#drained
  }

  #resolve(): void {
    this.#resolveDrained?.()
    this.#resolveDrained = null
    this.#drained = null
  }
}

/** Tokens and a vector's numbers cost credit; what ends an attempt is free. */
function costOf(type: FrameType, payload: Uint8Array): number {
  if (type === FRAME.TOKENS) return payload.length
  return type === FRAME.VECTOR ? payload.length - VECTOR_INDEX_BYTES : 0
}

/** An engine may say more than the frame may hold. */
const within = ({ code, message, param, retryable }: AttemptError): AttemptError => ({
  code: code.slice(0, 60),
  message: message.slice(0, 2000),
  param: param === null ? null : param.slice(0, 200),
  retryable,
})

/** UTF-8 of one UTF-16 unit is at most three bytes long. */
const mostBytes = (chunk: TokenChunk): number =>
  TOKEN_HEADER_BYTES + 3 * (chunk.text.length + chunk.logprob.length)

/** TOKENS payloads under a frame's limit, as few as can be told without encoding twice. */
function* tokenPayloads(chunks: readonly TokenChunk[]): Generator<Uint8Array> {
  let from = 0
  let bytes = 0
  for (let i = 0; i < chunks.length; i++) {
    const chunk = chunks[i]
    if (chunk === undefined) break
    const more = mostBytes(chunk)
    if (bytes + more > MAX_FRAME_PAYLOAD_BYTES && i > from) {
      yield encodeTokenChunks(chunks.slice(from, i))
      from = i
      bytes = 0
    }
    bytes += more
  }
  if (from < chunks.length) yield encodeTokenChunks(from === 0 ? chunks : chunks.slice(from))
}
