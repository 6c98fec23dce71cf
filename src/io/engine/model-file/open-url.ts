/** One GET of a large file: redirects followed with care, the token kept at home, silence noticed. */
import http from 'node:http'
import https from 'node:https'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { shown } from './model-source.ts'
import { checkRedirect, guardedLookup } from './reachable.ts'

const MAX_REDIRECTS = 5
/** A healthy server is never silent for so long in the middle of a file. */
export const SILENCE_MS = 30_000

export type OpenedUrl = {
  readonly answer: http.IncomingMessage
  /** SHA-256 that the source's own server told on the way (Hugging Face does), or null. */
  readonly toldSha256: string | null
}

export type Get = {
  readonly url: URL
  readonly token: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Resolves with any status that is no redirect; the caller consumes or destroys the answer. */
export async function openUrl({ url, token, headers, signal }: Get): Promise<OpenedUrl> {
  let next = url
  let toldSha256: string | null = null
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const own = next.origin === url.origin
    const authorization = own && token !== null ? { authorization: `Bearer ${token}` } : {}
    const answer = await get(url, next, { ...headers, ...authorization }, signal)
    const linked = answer.headers['x-linked-etag']
    if (own && typeof linked === 'string')
      toldSha256 ??= /^"?([0-9a-f]{64})"?$/.exec(linked)?.[1] ?? null
    const { location } = answer.headers
    if (!REDIRECTS.has(answer.statusCode ?? 0) || location === undefined)
      return { answer, toldSha256 }
    answer.destroy()
    const target = URL.canParse(location, next.href) ? new URL(location, next.href) : null
    if (!target) throw new Fault('model_redirect', `${shown(next)} redirects to nowhere`)
    checkRedirect(url, target)
    next = target
  }
  throw new Fault('model_redirect', `${shown(url)} redirects more than ${MAX_REDIRECTS} times`)
}

const REDIRECTS = new Set([301, 302, 303, 307, 308])

function get(
  source: URL,
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const lookup = guardedLookup(source, url)
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? https : http).get(url, {
      agent: false,
      signal,
      headers: { 'accept-encoding': 'identity', 'user-agent': 'baseload', ...headers },
      ...(lookup && { lookup }),
    })
    request.setTimeout(SILENCE_MS, () => {
      request.destroy(new Error(`silent for ${SILENCE_MS} ms`))
    })
    request.once('response', resolve)
    request.once('error', (error) => {
      reject(signal.aborted || error instanceof Fault ? (signal.reason ?? error) : lost(url, error))
    })
  })
}

/** The connection failed or broke: worth another try. */
export const lost = (url: URL, error: unknown): Fault =>
  new Fault('model_download', `the download from ${shown(url)} broke off: ${reasonOf(error)}`, {
    cause: error,
    retryable: true,
  })
