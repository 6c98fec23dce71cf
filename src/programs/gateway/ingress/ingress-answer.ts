/** What a visitor is told when the service cannot answer: a page for people, JSON for programs. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault, refuse, REFUSALS, type Refusal } from '../../../core/base/refusal.ts'
import { refusalHeaders, sendRefusal } from '../../../io/http/respond.ts'
import type { IngressEntry } from './ingress-table.ts'

/** Does nothing when an answer has begun or the visitor has gone. */
export function refuseVisitor(
  request: IncomingMessage,
  response: ServerResponse,
  refusal: Refusal,
): void {
  if (!wantsPage(request)) return sendRefusal(response, refusal, { 'cache-control': 'no-store' })
  if (response.destroyed || response.headersSent) return
  const page = pageOf(refusal)
  response.writeHead(REFUSALS[refusal.code].status, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(page),
    'cache-control': 'no-store',
    ...refusalHeaders(refusal),
  })
  response.end(page)
}

export const unknownHost = (host: string): Refusal =>
  refuse('host_unknown', `No running lease answers to ${host}. See 'baseload leases' for its URL.`)

/** Why an entry that is not running has no answer. */
export function notRunning(entry: Exclude<IngressEntry, { state: 'running' }>): Refusal {
  const code = entry.state === 'starting' ? 'lease_starting' : 'lease_unreachable'
  return refuse(code, entry.message, { retryAfterS: entry.retryAfterS })
}

/** node:http reads more than it writes. */
export const UNWRITABLE = refuse(
  'invalid_value',
  'The path or a header has characters that none may have.',
)

export const tooLarge = (limitBytes: number): Refusal =>
  refuse(
    'request_too_large',
    `The body is over the ${limitBytes} bytes that this service takes (http_options, max_body_size).`,
    { details: { limitBytes } },
  )

export const tooSlow = (what: 'read' | 'send', limitMs: number): Refusal =>
  refuse(
    'service_timeout',
    `The service ${what === 'read' ? 'sent' : 'took'} nothing for ${limitMs} ms (http_options, ${what}_timeout).`,
    { details: { limitMs } },
  )

export const tooBusy = (limit: number): Refusal =>
  refuse('service_busy', `${limit} requests to this service run already. Try again.`, {
    retryAfterS: 1,
  })

export const unlinked = (): Refusal =>
  refuse('lease_unreachable', 'The node that runs this service does not answer just now.', {
    retryAfterS: 2,
  })

/** What went wrong between here and the service, for the visitor: no address and no inner message. */
export function refusalOf(error: unknown): Refusal {
  const code = error instanceof Fault ? error.code : ''
  switch (code) {
    case 'tunnel_lost':
    case 'tunnel_late':
    case 'lease_unknown':
    case 'lease_epoch_stale':
      return unlinked()
    case 'shutting_down':
      return refuse('lease_unreachable', 'The gateway or the node is leaving. Try again.', {
        retryAfterS: 1,
      })
    case 'service_not_running':
    case 'service_unknown':
      return refuse('lease_starting', 'The service is not running yet.', { retryAfterS: 1 })
    case 'tunnel_limit':
      return refuse('service_busy', 'The node has as many connections as it takes. Try again.', {
        retryAfterS: 1,
      })
    case 'port_refused':
      return refuse(
        'service_unreachable',
        'The service runs, but nothing in it listens on its exposed port.',
        { retryAfterS: 1 },
      )
    default:
      return refuse(
        'service_unreachable',
        'The service broke the connection, or answered with something that is not HTTP.',
      )
  }
}

/** A request with a body needs the polite close that only `sendRefusal` has; people's browsers ask without. */
const wantsPage = ({ headers, method }: IncomingMessage): boolean =>
  method === 'GET' &&
  (headers.accept ?? '').includes('text/html') &&
  headers['content-length'] === undefined &&
  headers['transfer-encoding'] === undefined

function pageOf({ code, message, retryAfterS }: Refusal): string {
  const { status } = REFUSALS[code]
  const again = retryAfterS === null ? '' : `<meta http-equiv="refresh" content="${retryAfterS}">`
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">${again}
<title>${status} ${code}</title>
<style>body{font:16px/1.5 system-ui;max-width:36em;margin:20vh auto;padding:0 1em}code{color:#777}</style>
<h1>${status}</h1><p>${escaped(message)}</p><p><code>${code}</code></p></html>
`
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
