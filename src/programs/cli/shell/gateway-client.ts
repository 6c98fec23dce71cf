/** A small client of the gateway's HTTP API for the commands: JSON in, JSON out, and one event stream. */
import { z } from 'zod'
import { reasonOf } from '../../../core/base/refusal.ts'
import { SseParser } from '../../../io/engine/openai/sse-parser.ts'
import { EXIT, Failure } from './failure.ts'
import type { Access } from './client-settings.ts'

export type Download = {
  readonly headers: Headers
  readonly bytes: AsyncGenerator<Uint8Array, void, void>
}

export type GatewayClient = {
  readonly url: string
  get(path: string): Promise<unknown>
  /** `once`: an idempotency key. */
  post(path: string, body: unknown, once?: string): Promise<unknown>
  put(path: string, body: unknown): Promise<unknown>
  delete(path: string): Promise<unknown>
  /** POSTs, and yields each event's JSON until `[DONE]`. Aborting the signal cancels the answer. */
  stream(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<unknown, void, void>
  /** GETs bytes. Ends only where all came; aborting `stop` breaks it off, too. */
  download(path: string): Promise<Download>
  /** GETs an event stream, and yields each event's JSON until the gateway ends it. */
  follow(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, void>
}

/**
 * Every method throws Failure: `refused` with the gateway's own words, `unreachable`, or `interrupted` when `stop`
 * is aborted. `fetchOnce` makes the requests: one that pays, where a wallet is there.
 */
export function gatewayClient(
  access: Access,
  stop: AbortSignal,
  fetchOnce: typeof fetch = fetch,
): GatewayClient {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (access.apiKey !== null) headers['authorization'] = `Bearer ${access.apiKey}`

  async function send(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal,
    more: Record<string, string> = {},
  ) {
    const request = {
      method,
      headers: { ...headers, ...more },
      body: body === undefined ? null : JSON.stringify(body),
    }
    try {
      const either = AbortSignal.any([signal, stop])
      const response = await fetchOnce(access.url + path, { ...request, signal: either })
      if (!response.ok) throw await refusal(response, path)
      return response
    } catch (error) {
      throw error instanceof Failure ? error : unreachable(access, error)
    }
  }

  async function json(
    method: string,
    path: string,
    body?: unknown,
    more: Record<string, string> = {},
  ): Promise<unknown> {
    const timeout = AbortSignal.timeout(access.timeoutMs)
    const response = await send(method, path, body, timeout, more)
    if (response.status === 204) return null
    return await response.json().catch((error: unknown) => {
      throw notAGateway(access.url + path, error)
    })
  }

  return {
    url: access.url,
    get: (path) => json('GET', path),
    post: (path, body, once) =>
      json('POST', path, body, once === undefined ? {} : { 'idempotency-key': once }),
    put: (path, body) => json('PUT', path, body),
    delete: (path) => json('DELETE', path),
    async download(path) {
      // What is larger than a moment is only begun in that time.
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(new SilenceError()), access.timeoutMs)
      const response = await send('GET', path, undefined, late.signal).finally(() =>
        clearTimeout(timer),
      )
      return { headers: response.headers, bytes: bytesOf(access, response) }
    },
    async *stream(path, body, signal) {
      const response = await send('POST', path, body, signal)
      if (response.body === null) throw notAGateway(access.url + path, null)
      try {
        const parser = new SseParser()
        for await (const bytes of response.body)
          for (const { data } of parser.push(bytes)) {
            if (data === '[DONE]') return
            yield parseEvent(data)
          }
      } catch (error) {
        throw error instanceof Failure ? error : unreachable(access, error)
      }
      throw new Failure(EXIT.unreachable, 'the answer broke off before its end', {
        code: 'stream_broken',
        next: 'ask again; only the tokens that arrived are paid',
      })
    },
    async *follow(path, signal) {
      const silence = new AbortController()
      const timer = setTimeout(() => silence.abort(new SilenceError()), SILENCE_MS)
      try {
        const either = AbortSignal.any([signal, silence.signal])
        const response = await send('GET', path, undefined, either, {
          accept: 'text/event-stream',
        })
        const parser = new SseParser()
        for await (const bytes of response.body ?? []) {
          timer.refresh()
          for (const { data } of parser.push(bytes)) yield parseEvent(data)
        }
      } catch (error) {
        throw error instanceof Failure ? error : unreachable(access, error)
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

async function* bytesOf(access: Access, { body }: Response): Download['bytes'] {
  try {
    for await (const piece of body ?? []) yield piece
  } catch (error) {
    throw unreachable(access, error)
  }
}

/** A gateway says at least something every 20 s. */
const SILENCE_MS = 60_000

class SilenceError extends Error {
  override readonly name = 'TimeoutError'
}

const errorBody = z.object({
  error: z.object({
    message: z.string(),
    code: z.string().nullable().optional(),
    details: z.looseObject({ code: z.string().optional() }).optional().catch({}),
  }),
})

async function refusal(response: Response, path: string): Promise<Failure> {
  const { status, headers } = response
  const text = await response.text()
  return refusalFailure(path, { status, text, retryAfter: headers.get('retry-after') })
}

/** What a gateway, or something else at its address, refused with. */
export function refusalFailure(
  path: string,
  { status, text, retryAfter }: { status: number; text: string; retryAfter: string | null },
): Failure {
  const parsed = errorBody.safeParse(jsonOrNull(text))
  if (!parsed.success) {
    const start = text.replace(/\s+/g, ' ').slice(0, 120)
    return new Failure(EXIT.refused, `${path} answered ${status}: ${start}`, {
      code: `http_${status}`,
      next: 'is this the address of a Baseload gateway?',
    })
  }
  const { message, code, details } = parsed.data.error
  const next = NEXT[code ?? ''] ?? retryText(retryAfter)
  return new Failure(EXIT.refused, message, {
    code: code ?? `http_${status}`,
    reason: details?.code ?? null,
    ...(next === null ? {} : { next }),
  })
}

/** The next step, where the gateway's message cannot know this machine. */
const NEXT: Readonly<Record<string, string>> = {
  missing_api_key: 'set BASELOAD_API_KEY, or give --key-file <file>',
  invalid_api_key: 'check BASELOAD_API_KEY; `npm start` prints the key of a local network',
  revoked_api_key: 'make another with `baseload keys create`',
  expired_api_key: 'make another with `baseload keys create`',
  model_not_found: '`baseload models` lists what can be asked for',
  insufficient_balance: '`baseload account` shows the balance',
  voucher_needed:
    '`baseload wallet deposit <amount>` pays in; --wallet <name> says which wallet pays',
  invalid_sdl: '`baseload sdl check <file>` explains each problem, without a gateway',
  no_matching_node: '`baseload screen <file>` shows who could run it, and what would help',
}

const retryText = (seconds: string | null): string | null =>
  seconds === null ? null : `try again in ${seconds} s`

function parseEvent(data: string): unknown {
  const event = jsonOrNull(data)
  const failed = errorBody.safeParse(event)
  if (!failed.success) return event
  const { message, code } = failed.data.error
  throw new Failure(EXIT.refused, message, { code: code ?? 'stream_failed' })
}

export function unreachable(access: Access, error: unknown): Failure {
  if (error instanceof Error && error.name === 'AbortError')
    return new Failure(EXIT.interrupted, 'interrupted', { code: 'interrupted', cause: error })
  const timedOut = error instanceof Error && error.name === 'TimeoutError'
  const why = timedOut ? `no answer within ${access.timeoutMs / 1000} s` : rootReason(error)
  return new Failure(EXIT.unreachable, `cannot reach the gateway at ${access.url}: ${why}`, {
    code: 'unreachable',
    next: 'is it running? `npm start` starts one; --url or BASELOAD_URL names another',
    cause: error,
  })
}

/** fetch says "fetch failed"; its cause says why. */
function rootReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.cause !== undefined) return rootReason(error.cause)
  return 'code' in error && typeof error.code === 'string' ? error.code : reasonOf(error)
}

const notAGateway = (url: string, cause: unknown): Failure =>
  new Failure(EXIT.refused, `${url} did not answer in JSON`, {
    code: 'not_a_gateway',
    next: 'is this the address of a Baseload gateway?',
    cause,
  })

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
