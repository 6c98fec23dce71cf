/** Sends whoever came by HTTP to the same place by HTTPS. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { refuse } from '../../../core/base/refusal.ts'
import { sendRefusal } from '../../../io/http/respond.ts'

/** A host name or an address, and maybe a port. */
const HOST = /^([a-z\d._-]{1,255}|\[[\da-f:.]{2,45}\])(:\d{1,5})?$/i

/** 308: method and body stay. Kept by browsers for as long as they like, so it is sent only where the operator asked for it. */
export function sendToHttps(
  { headers, url = '/' }: IncomingMessage,
  response: ServerResponse,
  port: number,
): void {
  const host = HOST.exec(headers.host ?? '')?.[1]
  // `*` of OPTIONS, and whole URLs, are for no browser.
  if (host === undefined || !url.startsWith('/')) {
    const why = 'This gateway is reached by HTTPS. Ask https:// with a host name.'
    sendRefusal(response, refuse('invalid_value', why))
    return
  }
  const location = `https://${host}${port === 443 ? '' : `:${port}`}${url}`
  response.writeHead(308, { location, 'content-length': 0 }).end()
}
