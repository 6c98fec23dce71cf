/**
 * HTTP to the upstream server: kept-alive connections, bounded bodies, no key in any message.
 * Plain node:http, because `fetch` costs many times the CPU of a short streamed answer.
 */
import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'

export type UpstreamOptions = {
  /** Up to and including the version: `http://127.0.0.1:8000/v1`. */
  readonly upstream: string
  readonly apiKey: string | null
}

export type JsonAnswer = {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** Null when the body is not JSON. */
  readonly body: unknown
}

type Call = {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** 2,048 embeddings of 8,192 numbers at 20 characters are 320 MiB; nobody serves that in one answer. */
const MAX_JSON_BYTES = 256 * 1024 * 1024

export type Upstream = ReturnType<typeof connectUpstream>

/** Opens no connection yet. Throws a Fault when the address is none. */
export function connectUpstream({ upstream, apiKey }: UpstreamOptions) {
  const base = parseBase(upstream)
  const secure = base.protocol === 'https:'
  const agent = new (secure ? https.Agent : http.Agent)({ keepAlive: true, scheduling: 'lifo' })

  /** Sends once; a kept connection that the server had just closed is replaced, unseen. */
  async function send(url: URL, call: Call, fresh = false): Promise<http.IncomingMessage> {
    const body = call.body === undefined ? null : Buffer.from(JSON.stringify(call.body))
    const request = (secure ? https : http).request(url, {
      agent: fresh ? false : agent,
      method: body === null ? 'GET' : 'POST',
      signal: call.signal,
      headers: {
        accept: 'text/event-stream, application/json',
        'accept-encoding': 'identity',
        ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
        ...(apiKey !== null && { authorization: `Bearer ${apiKey}` }),
        ...call.headers,
      },
    })
    request.once('socket', forgiveErrors)
    try {
      const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).on('error', reject)
        request.end(body ?? undefined)
      })
      // Whoever reads hears of an abort by itself; while nobody does, it must not end the process.
      return answer.on('error', ignore)
    } catch (error) {
      call.signal.throwIfAborted()
      if (request.reusedSocket && !fresh) return send(url, call, true)
      throw unreachable(base, error)
    }
  }

  return {
    /** For people and logs: the address without credentials or query. */
    name: base.origin + base.pathname,

    /** `path` below the version: `/chat/completions`. Any status resolves; no answer is a Fault. */
    open: (path: string, call: Call) => send(new URL(base.href + path), call),

    /** As `open`, read whole. */
    async json(path: string, call: Call): Promise<JsonAnswer> {
      return readJson(await send(new URL(base.href + path), call), call.signal)
    },

    /** `path` below the server's root, where its own, non-OpenAI routes live. */
    async rootJson(path: string, call: Call): Promise<JsonAnswer> {
      const root = base.href.replace(/\/v\d+$/, '')
      return readJson(await send(new URL(root + path), call), call.signal)
    },

    close: () => agent.destroy(),
  }
}

/** Reads a JSON body whole; one that is cut is a Fault. */
export async function readJson(
  answer: http.IncomingMessage,
  signal: AbortSignal,
): Promise<JsonAnswer> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      length += part.length
      if (length > MAX_JSON_BYTES) throw new Error(`the answer is over ${MAX_JSON_BYTES} bytes`)
      parts.push(part)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw new Fault('upstream_cut', `the upstream's answer broke off: ${reasonOf(error)}`, {
      cause: error,
      retryable: true,
    })
  }
  const { statusCode: status = 0, headers } = answer
  return { status, headers, body: parseJson(Buffer.concat(parts).toString()) }
}

/** The value, or null for what is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** Runs `work` with a signal that is the caller's, or a Fault when the time is over. */
export async function within<T>(
  ms: number,
  signal: AbortSignal,
  work: (bounded: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    const message = `the upstream gave no answer in ${ms} ms`
    late.abort(new Fault('upstream_stalled', message, { retryable: true }))
  }, ms)
  try {
    return await work(AbortSignal.any([signal, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}

function parseBase(upstream: string): URL {
  const address = upstream.replace(/\/+$/, '')
  const base = URL.canParse(address) ? new URL(address) : null
  if (!base || !/^https?:$/.test(base.protocol) || base.search !== '' || base.username !== '')
    throw new Fault(
      'upstream_address',
      'the upstream must be an http or https address such as http://127.0.0.1:8000/v1, without a query or password',
    )
  return base
}

const ignore = (): void => {}

/**
 * Between an answer's end and its return to the agent a socket has no listener of Node's own, and an abort at
 * that moment would end the process. Sockets are used again: one listener each.
 */
function forgiveErrors(socket: Socket): void {
  if (!socket.listeners('error').includes(ignore)) socket.on('error', ignore)
}

const unreachable = (base: URL, error: unknown): Fault =>
  new Fault('upstream_unreachable', `no answer from ${base.origin}: ${reasonOf(error)}`, {
    cause: error,
    retryable: true,
  })
