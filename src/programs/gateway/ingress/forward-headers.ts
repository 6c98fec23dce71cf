/** Headers on their way through the ingress: what ends at each hop is taken out, who asked is put in. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'

/** RFC 9110, 7.6.1, and what people use as if it were there; `expect` is answered by the ingress itself. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Nobody but the ingress says where a request came from. */
const FORWARDED: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
])

/** The request's headers for the service, flat: name, value, name, value. The body's framing is left to the caller. */
export function requestHeaders(request: IncomingMessage, behindProxy: boolean): string[] {
  const headers = endToEnd(request, FORWARDED)
  const asker = askerOf(request, behindProxy)
  const host = request.headers.host ?? ''
  const port = /:(\d+)$/.exec(host)?.[1] ?? (asker.proto === 'https' ? '443' : '80')
  headers.push('x-forwarded-for', [...asker.before, asker.address].join(', '))
  headers.push('x-forwarded-host', host, 'x-forwarded-port', port)
  headers.push('x-forwarded-proto', asker.proto)
  const chain = [...asker.before, asker.address].map((address) => `for=${quoted(address)}`)
  chain[chain.length - 1] += `;host=${quoted(host)};proto=${asker.proto}`
  headers.push('forwarded', chain.join(', '))
  return headers
}

/** The answer's headers for whoever asked. */
export const responseHeaders = (answer: IncomingMessage): string[] => endToEnd(answer, NONE)

/** Begins the visitor's answer as the service began its own. False when that is nothing that may be written: status 99. */
export function writeHead(response: ServerResponse, answer: IncomingMessage): boolean {
  const { statusCode = 0, statusMessage = '' } = answer
  try {
    response.writeHead(statusCode, statusMessage, responseHeaders(answer))
    return true
  } catch {
    // node:http reads more than it writes, and would keep what it could not write.
    response.statusMessage = ''
    return false
  }
}

const NONE: ReadonlySet<string> = new Set()

function endToEnd({ rawHeaders, headers }: IncomingMessage, more: ReadonlySet<string>): string[] {
  const named = new Set((headers.connection ?? '').toLowerCase().split(/\s*,\s*/))
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const lower = name.toLowerCase()
    // `Connection: content-length` would unframe the body, `Connection: host` unname the target.
    const ends = HOP_BY_HOP.has(lower) || (named.has(lower) && !ESSENTIAL.has(lower))
    if (!ends && !more.has(lower)) kept.push(name, rawHeaders[at + 1] ?? '')
  }
  return kept
}

const ESSENTIAL: ReadonlySet<string> = new Set(['content-length', 'host'])

type Asker = {
  readonly address: string
  /** Addresses that a trusted proxy says came before; at most a chain that fits a header. */
  readonly before: readonly string[]
  readonly proto: 'http' | 'https'
}

function askerOf({ socket, headers }: IncomingMessage, behindProxy: boolean): Asker {
  const address = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d)/, '')
  const encrypted = socket instanceof TLSSocket
  if (!behindProxy) return { address, before: [], proto: encrypted ? 'https' : 'http' }
  const { 'x-forwarded-for': told, 'x-forwarded-proto': proto } = headers
  const chain = typeof told === 'string' ? told.split(/\s*,\s*/).filter(isAddress) : []
  return { address, before: chain, proto: proto === 'https' || encrypted ? 'https' : 'http' }
}

const isAddress = (text: string): boolean => /^[\w.:[\]-]{1,64}$/.test(text)

/** A `token` may stand alone, anything else is quoted: RFC 7239, 4 and 6. */
function quoted(text: string): string {
  if (/^[\w.-]+$/.test(text)) return text
  return /^[\da-f:.]+$/i.test(text) && text.includes(':') && !/^[\d.]+:\d+$/.test(text)
    ? `"[${text}]"`
    : `"${text.replaceAll(/["\\]/g, '')}"`
}
