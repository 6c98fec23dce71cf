/**
 * One tunnel as a stream, the same at both ends: bytes both ways, each direction ended on its own, and TCP's
 * back-pressure: who does not read makes the other end's writes wait.
 */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { MAX_TUNNEL_MESSAGE_BYTES } from '../../core/protocol/tunnel.ts'
import { closeTextOf } from './close-reason.ts'
import { WEBSOCKET_OPTIONS } from './link-socket.ts'

/** For `ws`, both ends. */
export const TUNNEL_OPTIONS = { ...WEBSOCKET_OPTIONS, maxPayload: MAX_TUNNEL_MESSAGE_BYTES }

export type TunnelTimes = {
  /** No byte either way for so long ends the tunnel with `tunnel_idle`. */
  readonly idleMs: number
  /** It ends with `tunnel_expired` when it is so old. */
  readonly totalMs: number
}

/** What each end holds of a direction beyond what the kernel does; one message more may be on its way. */
const BUFFER_BYTES = 64 * 1024
/** Keeps proxies in between from calling a quiet tunnel dead: the strictest usual one waits 60 s. */
const PING_EVERY_MS = 20_000
/** Then the kernel asks whether the other end is there, and 10 s later it knows; pings would wait behind a slow reader. */
const KEEP_ALIVE_AFTER_MS = 15_000

/** WebSocket close: both directions had ended. */
const ENDED = 1000
/** Anything else, with `code: message` as its text. */
const BROKEN = 4000
/** What `ws` says when a message is over the limit. */
const TOO_LARGE = 1009

const NOTHING = Buffer.alloc(0)
const SEND = { binary: true, compress: false }

export class TunnelStream extends Duplex {
  readonly #ws: WebSocket
  readonly #now: () => Millis
  readonly #times: TunnelTimes
  readonly #startedAt: Millis
  #lastByteAt: Millis
  #lastPingAt: Millis
  #ended = false
  #peerEnded = false

  /** `ws` is open; `tcp` is the connection under it. */
  constructor(ws: WebSocket, tcp: Socket, times: TunnelTimes, now: () => Millis) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES })
    this.#ws = ws
    this.#now = now
    this.#times = times
    this.#startedAt = this.#lastByteAt = this.#lastPingAt = now()
    tcp.setKeepAlive(true, KEEP_ALIVE_AFTER_MS)
    ws.on('message', (data, isBinary) => this.#message(data, isBinary))
    ws.on('error', (error) => this.destroy(faultOfError(error)))
    ws.on('close', (status, text) => this.#closed(status, text.toString()))
  }

  /** Looks at the limits, and keeps the way open; called every few seconds. */
  tick(now: Millis): void {
    const { idleMs, totalMs } = this.#times
    if (now - this.#startedAt > totalMs)
      this.destroy(new Fault('tunnel_expired', `a tunnel lives ${totalMs} ms; ask for another`))
    else if (now - this.#lastByteAt > idleMs)
      this.destroy(new Fault('tunnel_idle', `no byte went either way for ${idleMs} ms`))
    else if (now - Math.max(this.#lastByteAt, this.#lastPingAt) > PING_EVERY_MS) this.#ping(now)
  }

  override _read(): void {
    if (this.#ws.isPaused) this.#ws.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#sendAll(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#sendAll(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: () => void): void {
    this.#ended = true
    this.#send(NOTHING, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (error === null && this.#ended && this.#peerEnded) this.#ws.close(ENDED)
    else this.#ws.close(BROKEN, closeTextOf(closeWords(error)))
    // What still comes is thrown away, so that the other end's close is heard.
    this.#ws.resume()
    done(error)
  }

  #sendAll(chunk: Buffer, done: () => void): void {
    this.#lastByteAt = this.#now()
    for (let at = 0; ; at += MAX_TUNNEL_MESSAGE_BYTES) {
      const part = chunk.subarray(at, at + MAX_TUNNEL_MESSAGE_BYTES)
      if (at + part.length === chunk.length) {
        // An empty message would end the direction.
        if (chunk.length === 0) done()
        else this.#send(part, done)
        return
      }
      this.#send(part)
    }
  }

  /** `done` once the kernel took it. If it never does, the close that follows tells why, better than `ws` could here. */
  #send(bytes: Buffer, done?: () => void): void {
    this.#ws.send(bytes, SEND, (error) => {
      if (!error) done?.()
    })
  }

  #message(data: RawData, isBinary: boolean): void {
    if (this.destroyed) return
    if (!isBinary || !(data instanceof Buffer)) {
      this.destroy(new Fault('tunnel_malformed', 'a text message came; tunnels are binary'))
    } else if (this.#peerEnded) {
      this.destroy(new Fault('tunnel_malformed', `${data.length} bytes came after the end`))
    } else if (data.length === 0) {
      this.#peerEnded = true
      this.push(null)
    } else {
      this.#lastByteAt = this.#now()
      if (!this.push(data)) this.#ws.pause()
    }
  }

  #closed(status: number, text: string): void {
    // Both directions ended: what came before may still be read.
    if (this.#peerEnded && this.#ended && (status === ENDED || this.writableFinished)) return
    this.destroy(faultOfClose(status, text))
  }

  #ping(now: Millis): void {
    this.#lastPingAt = now
    // Behind unsent bytes it would tell nobody anything.
    if (this.#ws.readyState === this.#ws.OPEN && this.#ws.bufferedAmount === 0) this.#ws.ping()
  }
}

function closeWords(error: Error | null): string {
  if (error === null) return 'tunnel_aborted: the other end has no more use for it'
  const code = error instanceof Fault ? error.code : 'tunnel_failed'
  return `${code}: ${error.message}`
}

function faultOfClose(status: number, text: string): Fault {
  const said = /^([a-z_]+): (.*)$/s.exec(text)
  if (said) return new Fault(said[1] ?? '', said[2] ?? '')
  return status === TOO_LARGE
    ? new Fault('tunnel_malformed', `a message was over ${MAX_TUNNEL_MESSAGE_BYTES} bytes`)
    : new Fault('tunnel_lost', `the connection broke (WebSocket status ${status})`)
}

function faultOfError(cause: Error): Fault {
  const malformed = 'code' in cause && String(cause.code).startsWith('WS_ERR_')
  return new Fault(malformed ? 'tunnel_malformed' : 'tunnel_lost', reasonOf(cause), { cause })
}
