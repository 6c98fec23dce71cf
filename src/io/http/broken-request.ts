/** What a connection hears when there is no request to answer: bytes that are not HTTP, too slow, too many. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { errorBody, refuse, REFUSALS, type Refusal } from '../../core/base/refusal.ts'

/**
 * Answers a parser error or timeout and closes. When an answer is already under way on the connection
 * (`running`), nothing may be mixed into it: then it only closes, after what was written already.
 */
export function answerBrokenRequest(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  running: ServerResponse | undefined,
): void {
  const mixed = running !== undefined && running.headersSent && !running.writableFinished
  if (!socket.writable || error.code === 'ECONNRESET') socket.destroy()
  else if (mixed) endAndClose(socket, '')
  else answerAndClose(socket, refusalOf(error.code))
}

/** A tunnel to elsewhere is no service of ours. */
export function answerConnect(socket: Duplex): void {
  answerAndClose(
    socket,
    refuse('method_not_allowed', 'CONNECT is not offered: this is a gateway to models, no proxy.'),
  )
}

/** The server has as many connections as it takes. */
export function answerCrowded(socket: Socket): void {
  answerAndClose(
    socket,
    refuse('queue_full', 'Too many connections. Reuse the ones you have, or try again shortly.', {
      retryAfterS: 1,
    }),
  )
}

function refusalOf(code: string | undefined): Refusal {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return refuse('request_timeout', 'The request did not arrive in time. Send it faster.')
  if (code === 'HPE_HEADER_OVERFLOW')
    return refuse('headers_too_large', 'The request headers are larger than the server reads.')
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return refuse('request_too_large', 'The chunk extensions are larger than the server reads.')
  return refuse('invalid_value', 'This is not an HTTP/1.1 request that the server can read.')
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Payload Too Large',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
}

function answerAndClose(socket: Duplex, refusal: Refusal): void {
  const { status } = REFUSALS[refusal.code]
  const body = errorBody(refusal)
  const lines = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? 'Refused'}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
    ...(refusal.retryAfterS === null ? [] : [`retry-after: ${refusal.retryAfterS}`]),
  ]
  endAndClose(socket, `${lines.join('\r\n')}\r\n\r\n${body}`)
}

/** How long the other end may take to read the last of what it is told. */
const LAST_WORDS_MS = 1_000

function endAndClose(socket: Duplex, lastWords: string): void {
  const destroy = (): void => void socket.destroy()
  const timer = setTimeout(destroy, LAST_WORDS_MS)
  socket.on('error', destroy).once('close', () => clearTimeout(timer))
  socket.end(lastWords, destroy)
}
