/**
 * Server-sent events to one tenant, written straight to the socket. `ServerResponse.write` costs more than
 * rendering the token does; so after the head is flushed the chunked framing (RFC 9112, section 7.1) is ours.
 * All streams that got tokens in one turn of the event loop are written in one go at its end: under load
 * several tokens of a stream share one write, which makes overload degrade instead of collapse.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HeaderList } from '../../io/http/respond.ts'
import { atTurnEnd } from '../../io/http/turn-end.ts'

const EVENT_STREAM: HeaderList = Object.entries({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
}).flat()
const CHUNKED: HeaderList = ['transfer-encoding', 'chunked']

/** Beyond this much unread, the node gets no more credit; the stream goes on when the tenant reads. */
export const SLOW_READER_BYTES = 64 * 1024

export class SseStream {
  readonly #response: ServerResponse
  #socket: Socket | null = null
  #pending = ''
  #queued = false
  #ended = false
  #onceFlushed: (() => void) | null = null
  #writtenBytes = 0

  constructor(response: ServerResponse) {
    this.#response = response
  }

  get opened(): boolean {
    return this.#response.headersSent
  }

  /** Sends the head. `headers` are whole and checked; nothing is added but what SSE needs. */
  open(headers: HeaderList): void {
    const framing = this.#chunked ? CHUNKED : []
    this.#response.writeHead(200, [...headers, ...EVENT_STREAM, ...framing])
    this.#response.flushHeaders()
    // A pipelined request has no socket until the one before it has ended; it goes the slow, safe way.
    if (this.#chunked) this.#socket = this.#response.socket
  }

  /** HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer. */
  get #chunked(): boolean {
    return this.#response.req.httpVersion !== '1.0'
  }

  /** Queues whole events. */
  push(events: string): void {
    if (events === '') return
    this.#pending += events
    this.#enqueue()
  }

  /** Ends the response after everything pushed so far. */
  end(): void {
    this.#ended = true
    this.#enqueue()
  }

  /** Bytes that the tenant has not taken yet. */
  get unreadBytes(): number {
    return this.#unsentBytes + this.#pending.length
  }

  /** Bytes of events that the tenant has taken: while they grow, it reads. */
  get takenBytes(): number {
    return this.#writtenBytes - this.#unsentBytes
  }

  get #unsentBytes(): number {
    return (this.#socket ?? this.#response).writableLength
  }

  /** Calls back, later, once the tenant has taken what was pushed. One callback at a time. */
  onceRead(callback: () => void): void {
    if (this.#queued) this.#onceFlushed = callback
    else this.#onceDrained(callback)
  }

  /** What the kernel takes at once is never drained. */
  #onceDrained(callback: () => void): void {
    const out = this.#socket ?? this.#response
    if (out.writableNeedDrain) out.once('drain', callback)
    else setImmediate(callback)
  }

  #enqueue(): void {
    if (this.#queued) return
    this.#queued = true
    if (dirty.push(this) === 1) atTurnEnd(flushAll)
  }

  /** Only `flushAll` calls it. */
  flush(): void {
    this.#queued = false
    const events = this.#pending
    this.#pending = ''
    if (events !== '' && !this.#response.destroyed) this.#write(events)
    if (this.#ended) this.#response.end()
    const waiting = this.#onceFlushed
    this.#onceFlushed = null
    if (waiting) this.#onceDrained(waiting)
  }

  #write(events: string): void {
    const bytes = Buffer.byteLength(events)
    this.#writtenBytes += bytes
    if (!this.#socket) {
      this.#response.write(events)
      return
    }
    // Latin-1 is the cheaper copy; it is right exactly when each character is one byte of UTF-8.
    const encoding = bytes === events.length ? 'latin1' : 'utf8'
    this.#socket.write(`${bytes.toString(16)}\r\n${events}\r\n`, encoding)
  }
}

const dirty: SseStream[] = []

function flushAll(): void {
  const streams = dirty.splice(0)
  for (const stream of streams) stream.flush()
}
