/** Answers over node:http: JSON, and refusals in OpenAI's shape. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { errorBody, REFUSALS, type Refusal } from '../../core/base/refusal.ts'
import { atTurnEnd } from './turn-end.ts'

/** How long an unwanted body is read and thrown away, so that its sender comes to see why it was refused. */
const LINGER_MS = 5_000
/** A smaller rest of a body is read to its end: that is cheaper than a new connection. */
const WORTH_READING_BYTES = 64 * 1024

/** `body` is JSON text already. Does nothing when the tenant has gone. */
export function sendJson(
  res: ServerResponse,
  status: number,
  body: string,
  headers: OutgoingHttpHeaders = {},
): void {
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, jsonHeaders(body, headers)).end(body)
}

/** Names and values, one after the other, as node:http takes them: cheaper to make than an object for every answer. */
export type HeaderList = readonly string[]

/** The same as an object, for what is seldom sent. No name may be there twice. */
export function headersOf(list: HeaderList): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let i = 0; i < list.length; i += 2) headers[list[i] ?? ''] = list[i + 1] ?? ''
  return headers
}

/** `sendJson` for the hot path: with 200, and at the end of the turn, together with all others' answers. */
export function sendJsonSoon(res: ServerResponse, body: string, headers: HeaderList): void {
  atTurnEnd(() => {
    if (res.destroyed || res.headersSent) return
    const length = String(Buffer.byteLength(body))
    const all = ['content-type', 'application/json', 'content-length', length, ...headers]
    res.writeHead(200, all).end(body)
  })
}

/**
 * Sends the refusal with its status and headers. When the request's body is still on its way, the connection
 * is closed politely: at once the sender sees the answer, while what it still sends is thrown away for a
 * moment, since closing with unread bytes would reset the connection and lose the answer.
 */
export function sendRefusal(
  res: ServerResponse,
  refusal: Refusal,
  headers: OutgoingHttpHeaders = {},
  status: number = REFUSALS[refusal.code].status,
): void {
  const all = { ...refusalHeaders(refusal), ...headers }
  const body = errorBody(refusal)
  if (!bodyIsComing(res.req)) return sendJson(res, status, body, all)
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, { ...jsonHeaders(body, all), connection: 'close' }).write(body)
  discard(res.req, () => res.end())
}

/** Calls back when the connection closes, or after the answer. */
export function onceGone(res: ServerResponse, gone: () => void): void {
  res.once('close', gone)
  // A pipelined request has no connection of its own yet, and its response never hears that it closed.
  if (res.socket) return
  const { socket } = res.req
  socket.once('close', gone)
  res.once('close', () => socket.off('close', gone))
}

/** Headers that belong to a refusal, wherever it is sent from. */
export function refusalHeaders(refusal: Refusal): Record<string, string> {
  const headers: Record<string, string> = {}
  if (refusal.retryAfterS !== null) headers['retry-after'] = String(refusal.retryAfterS)
  if (REFUSALS[refusal.code].status === 401) headers['www-authenticate'] = 'Bearer realm="baseload"'
  return headers
}

const jsonHeaders = (body: string, headers: OutgoingHttpHeaders): OutgoingHttpHeaders => ({
  'content-type': 'application/json',
  'content-length': Buffer.byteLength(body),
  ...headers,
})

function bodyIsComing(req: IncomingMessage): boolean {
  if (req.complete) return false
  if (req.headers['transfer-encoding'] !== undefined) return true
  return Number(req.headers['content-length'] ?? 0) > WORTH_READING_BYTES
}

/** Reads and forgets; `done` once, when the sender stops or has had its time. */
function discard(req: IncomingMessage, done: () => void): void {
  const finish = (): void => {
    clearTimeout(timer)
    req.off('end', finish).off('close', finish)
    done()
  }
  const timer = setTimeout(finish, LINGER_MS)
  req.on('end', finish).on('close', finish).resume()
}
