/**
 * One request on its way to a service and the answer on its way back: tries the copies of the service as the
 * tenant's `http_options` say, and keeps no more of either body than the connections themselves hold.
 */
import {
  request as send,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { HttpOptions } from '../../../core/protocol/manifest.ts'
import { onceGone } from '../../../io/http/respond.ts'
import { BodyPump } from './body-pump.ts'
import { requestHeaders, writeHead } from './forward-headers.ts'
import {
  refusalOf,
  refuseVisitor,
  tooBusy,
  tooLarge,
  tooSlow,
  UNWRITABLE,
} from './ingress-answer.ts'
import type { IngressTarget } from './ingress-table.ts'
import type { BodyFraming } from './request-shape.ts'
import type { ServicePool } from './service-pool.ts'
import { MAX_EXCHANGES_PER_REPLICA, type TunnelAgent } from './tunnel-agent.ts'

export type Visit = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly path: string
  readonly framing: BodyFraming
  readonly target: IngressTarget
  /** A proxy that we trust stands in front, and says who asks. */
  readonly behindProxy: boolean
}

/** A visitor who neither sends nor reads for so long is gone; nginx waits as long. */
const VISITOR_MS = 60_000
/** A body that nobody needs any more is read for so long, so that its sender comes to see the answer. */
const LINGER_MS = 5_000
/** A smaller limit would refuse what any server sends. */
const MIN_ANSWER_HEADER_BYTES = 16 * 1024
/** Asking twice is as good as asking once: RFC 9110, 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
])

type Failure = HttpOptions['nextCases'][number]

export class ProxiedRequest {
  readonly #visit: Visit
  readonly #pool: ServicePool
  readonly #startedAt = performance.now()
  readonly #tried = new Set<TunnelAgent>()
  #agent: TunnelAgent | null = null
  #out: ClientRequest | null = null
  #upload: BodyPump | null = null
  #download: BodyPump | null = null
  #readTimer: NodeJS.Timeout | undefined

  constructor(visit: Visit, pool: ServicePool) {
    this.#visit = visit
    this.#pool = pool
  }

  start(): void {
    const { response, framing, target } = this.#visit
    const { maxBodyBytes } = target.http
    if (framing.kind === 'length' && maxBodyBytes > 0 && framing.bytes > maxBodyBytes)
      return this.#refuse(tooLarge(maxBodyBytes))
    onceGone(response, () => this.#over())
    const agent = this.#pool.pick(target, this.#tried)
    if (agent === null) this.#refuse(tooBusy(MAX_EXCHANGES_PER_REPLICA))
    else this.#try(agent)
  }

  #try(agent: TunnelAgent): void {
    const { request, path, framing, target, behindProxy } = this.#visit
    this.#leave()
    this.#tried.add(agent)
    this.#agent = agent
    agent.running += 1
    let out: ClientRequest
    try {
      out = send({
        agent,
        method: request.method,
        path,
        headers: [...requestHeaders(request, behindProxy), ...framingHeaders(request, framing)],
        setHost: false,
        maxHeaderSize: Math.max(target.http.proxyBufferBytes ?? 0, MIN_ANSWER_HEADER_BYTES),
      })
    } catch {
      return this.#refuse(UNWRITABLE)
    }
    this.#out = out
    // What a try that was given up still says is no one's.
    out.once('socket', () => this.#out === out && this.#sendBody(out))
    out.once('response', (answer) => this.#out === out && this.#answered(out, answer))
    // Nobody asked for one, and without a listener node:http would say nothing at all.
    out.once('upgrade', (_answer, tunnel) => {
      tunnel.destroy()
      if (this.#out === out) this.#failed('error', refusalOf(null))
    })
    out.on('error', (error) => this.#out === out && this.#broke(agent, out, error))
  }

  #sendBody(out: ClientRequest): void {
    const { request, response, framing, target } = this.#visit
    const { maxBodyBytes, sendTimeoutMs } = target.http
    if (framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0)) {
      out.end()
      return this.#awaitAnswer()
    }
    if (request.headers.expect !== undefined) response.writeContinue()
    this.#upload = new BodyPump({
      from: request,
      to: out,
      patienceWithSource: { ms: VISITOR_MS, tooLong: () => this.#refuse(tooSlowVisitor()) },
      patienceWithSink: {
        ms: sendTimeoutMs,
        tooLong: () => this.#failed('timeout', tooSlow('send', sendTimeoutMs)),
      },
      maxBytes: maxBodyBytes,
      tooLarge: () => this.#refuse(tooLarge(maxBodyBytes)),
      done: () => this.#awaitAnswer(),
    })
    this.#upload.start()
  }

  #awaitAnswer(): void {
    const { readTimeoutMs } = this.#visit.target.http
    if (readTimeoutMs === 0 || this.#download !== null) return
    const tooLong = (): void => this.#failed('timeout', tooSlow('read', readTimeoutMs))
    this.#readTimer = setTimeout(tooLong, readTimeoutMs)
  }

  #answered(out: ClientRequest, answer: IncomingMessage): void {
    clearTimeout(this.#readTimer)
    const { response, target } = this.#visit
    const failure = NEXT_STATUSES[answer.statusCode ?? 0]
    const next = failure === undefined ? null : this.#next(failure)
    if (next !== null) {
      out.destroy()
      return this.#try(next)
    }
    if (!writeHead(response, answer)) return this.#failed('error', refusalOf(null))
    const { readTimeoutMs } = target.http
    // The status has gone: all that is left to say is that the rest is missing.
    const cut = (): void => void response.destroy()
    answer.once('close', () => {
      if (!answer.complete) cut()
    })
    answer.on('error', cut)
    this.#download = new BodyPump({
      from: answer,
      to: response,
      patienceWithSource: { ms: readTimeoutMs, tooLong: cut },
      patienceWithSink: { ms: VISITOR_MS, tooLong: cut },
      maxBytes: 0,
      tooLarge: cut,
      done: () => {},
    })
    this.#download.start()
  }

  #broke(agent: TunnelAgent, out: ClientRequest, error: Error): void {
    const { request, response } = this.#visit
    if (response.headersSent) {
      // The answer came before the body was through, and goes on while it comes.
      this.#upload?.stop()
      request.resume()
      return
    }
    // The service hung up on a kept connection just as it was used again: that says nothing about it.
    if (out.reusedSocket && this.#mayRepeat()) this.#try(agent)
    else this.#failed('error', refusalOf(error))
  }

  #failed(failure: Failure, refusal: Refusal): void {
    const next = this.#next(failure)
    if (next === null) this.#refuse(refusal)
    else this.#try(next)
  }

  /** The copy to try after such a failure, when the tenant's settings and the request allow another try. */
  #next(failure: Failure): TunnelAgent | null {
    const { target } = this.#visit
    const { nextCases, nextTries, nextTimeoutMs } = target.http
    if (nextCases.includes('off') || !nextCases.includes(failure)) return null
    if (nextTries > 0 && this.#tried.size >= nextTries) return null
    if (nextTimeoutMs > 0 && performance.now() - this.#startedAt > nextTimeoutMs) return null
    return this.#mayRepeat() ? this.#pool.pick(target, this.#tried) : null
  }

  /** A body that has begun to flow is not here any more; else what was not sent, or does no harm twice, may be sent again. */
  #mayRepeat(): boolean {
    const { method = '' } = this.#visit.request
    const sent = this.#out?.socket != null
    return this.#upload === null && (!sent || IDEMPOTENT.has(method))
  }

  #refuse(refusal: Refusal): void {
    const { request, response } = this.#visit
    if (response.headersSent) response.destroy()
    else refuseVisitor(request, response, refusal)
    this.#leave()
  }

  /** The answer is through, or the visitor has gone. */
  #over(): void {
    const { request } = this.#visit
    this.#leave()
    if (request.complete || request.destroyed) return
    const { socket } = request
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    const done = (): void => {
      clearTimeout(timer)
      socket.off('close', done)
    }
    // After its answer a request hears no more of its connection.
    socket.once('close', done)
    request.once('end', done).resume()
  }

  /** Ends the try that is under way. A tunnel whose exchange is complete stays in the pool. */
  #leave(): void {
    clearTimeout(this.#readTimer)
    this.#upload?.stop()
    this.#download?.stop()
    const out = this.#out
    this.#out = null
    if (out !== null && !out.destroyed) out.on('error', () => {}).destroy()
    if (this.#agent !== null) this.#agent.running -= 1
    this.#agent = null
  }
}

/** What `requestHeaders` leaves out. A length goes through as it came. */
function framingHeaders({ method = '' }: IncomingMessage, framing: BodyFraming): string[] {
  if (framing.kind === 'chunked') return ['transfer-encoding', 'chunked']
  // Else node:http would announce a chunked body for it.
  return framing.kind === 'none' && !BODYLESS.has(method) ? ['content-length', '0'] : []
}

const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])

/** Statuses that can be a reason to ask another copy. */
const NEXT_STATUSES: Readonly<Record<number, Failure>> = {
  403: '403',
  404: '404',
  429: '429',
  500: '500',
  502: '502',
  503: '503',
  504: '504',
}

const tooSlowVisitor = (): Refusal =>
  refuse('request_timeout', `Nothing of the body came for ${VISITOR_MS} ms. Send it faster.`)
