/** Requests that two readers could read in two ways are refused, before anyone forwards them. */
import type { IncomingMessage } from 'node:http'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import { plainHost } from './ingress-table.ts'

/** How a request's body is framed, in the one reading that the service gets too. */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }

/** The body's framing, or why it has none that all agree on: RFC 9112, 6.1 and 6.3. */
export function framingOf(request: IncomingMessage): BodyFraming | Refusal {
  const lengths = valuesOf(request, 'content-length')
  const codings = valuesOf(request, 'transfer-encoding')
  if (lengths.length + codings.length > 1)
    return ambiguous('Content-Length and Transfer-Encoding may come once, and only one of them')
  const [coding] = codings
  if (coding !== undefined) {
    if (request.httpVersion !== '1.1') return ambiguous('Transfer-Encoding needs HTTP/1.1')
    if (coding.toLowerCase() !== 'chunked')
      return ambiguous("Transfer-Encoding may only be 'chunked'")
    return { kind: 'chunked' }
  }
  const [length] = lengths
  if (length === undefined) return { kind: 'none' }
  const bytes = Number(length)
  if (!/^\d+$/.test(length) || !Number.isSafeInteger(bytes))
    return ambiguous('Content-Length must be one plain number')
  return { kind: 'length', bytes }
}

/** The host that is asked, in `plainHost`'s spelling, and the path; or why there are two of them. */
export function aimOf(request: IncomingMessage): { host: string; path: string } | Refusal {
  const hosts = valuesOf(request, 'host')
  const [host = ''] = hosts
  if (hosts.length > 1) return ambiguous('Host may come once')
  const { url = '/' } = request
  if (url.startsWith('/') || url === '*') return { host: plainHost(host), path: url }
  // The whole URL, as for a proxy: RFC 9112, 3.2.2.
  const absolute = /^http:\/\/([^/?#]*)(.*)$/i.exec(url)
  const [, authority = '', rest = ''] = absolute ?? []
  if (absolute === null || authority.toLowerCase() !== host.toLowerCase())
    return ambiguous('The URL in the request line must name the same host as Host')
  return { host: plainHost(host), path: rest.startsWith('/') ? rest : `/${rest}` }
}

function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? '')
  return values
}

const ambiguous = (what: string): Refusal => refuse('invalid_value', `${what}. Send it so.`)
