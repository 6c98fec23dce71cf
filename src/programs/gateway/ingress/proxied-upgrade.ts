/** A WebSocket on its way to a service: the handshake as it came, then bytes both ways until both ends are done. */
import {
  request as send,
  ServerResponse,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http'
import type { Socket } from 'node:net'
import { pipeline, type Duplex } from 'node:stream'
import type { Refusal } from '../../../core/base/refusal.ts'
import { requestHeaders, responseHeaders, writeHead } from './forward-headers.ts'
import { refusalOf, refuseVisitor, tooBusy, tooSlow, UNWRITABLE } from './ingress-answer.ts'
import { joinStreams } from './join-streams.ts'
import type { IngressTarget } from './ingress-table.ts'
import type { ServicePool } from './service-pool.ts'
import { MAX_EXCHANGES_PER_REPLICA, type TunnelAgent } from './tunnel-agent.ts'

export type UpgradeVisit = {
  readonly request: IncomingMessage
  readonly socket: Socket
  /** What the visitor sent behind the handshake. */
  readonly head: Buffer
  readonly path: string
  readonly target: IngressTarget
  readonly behindProxy: boolean
}

/** Runs until the connection is over. */
export async function proxyUpgrade(visit: UpgradeVisit, pool: ServicePool): Promise<void> {
  const { request, socket } = visit
  const agent = pool.pick(visit.target, new Set())
  if (agent === null)
    return refuseVisitor(request, answerOn(visit), tooBusy(MAX_EXCHANGES_PER_REPLICA))
  const gone = new AbortController()
  const leave = (): void => gone.abort()
  socket.once('close', leave)
  agent.running += 1
  try {
    const tunnel = await openTunnel(visit, agent, gone.signal)
    // The visitor may have left just as it opened.
    if (socket.destroyed) tunnel?.destroy()
    else if (tunnel !== null && !tunnel.closed) await shakeHands(visit, tunnel)
  } finally {
    agent.running -= 1
    socket.off('close', leave)
  }
}

async function openTunnel(
  visit: UpgradeVisit,
  agent: TunnelAgent,
  signal: AbortSignal,
): Promise<Duplex | null> {
  try {
    return await agent.open(signal)
  } catch (error) {
    if (!signal.aborted) refuseVisitor(visit.request, answerOn(visit), refusalOf(error))
    return null
  }
}

/** Resolves when the tunnel has closed. */
function shakeHands(visit: UpgradeVisit, tunnel: Duplex): Promise<void> {
  const { request, socket, target } = visit
  const { readTimeoutMs } = target.http
  const cut = (): void => void tunnel.destroy()
  let answered = false
  /** Only the first thing that the service does, or fails to do, is answered. */
  const answer = (then: () => void): void => {
    if (!answered && !socket.destroyed) then()
    answered = true
    clearTimeout(timer)
  }
  const refuse = (refusal: Refusal): void =>
    answer(() => refuseVisitor(request, answerOn(visit), refusal))
  const slow = (): void => {
    refuse(tooSlow('read', readTimeoutMs))
    cut()
  }
  const timer = readTimeoutMs > 0 ? setTimeout(slow, readTimeoutMs) : undefined
  socket.on('close', cut)
  tunnel.once('close', () => clearTimeout(timer))
  const out = requestOf(visit, tunnel)
  if (out === null) {
    refuse(UNWRITABLE)
    cut()
  }
  out?.once('upgrade', (head, _tunnel, rest) => {
    answer(() => {
      socket.off('close', cut)
      join(visit, head, tunnel, rest)
    })
  })
  out?.once('response', (head) => answer(() => passOn(visit, head, cut)))
  out?.on('error', (error) => refuse(refusalOf(error)))
  out?.end()
  return new Promise((resolve) => tunnel.once('close', () => resolve()))
}

function requestOf(visit: UpgradeVisit, tunnel: Duplex): ClientRequest | null {
  const { request, path, behindProxy } = visit
  const upgrade = ['connection', 'upgrade', 'upgrade', request.headers.upgrade ?? '']
  try {
    return send({
      createConnection: () => tunnel,
      method: request.method,
      path,
      headers: [...requestHeaders(request, behindProxy), ...upgrade],
      setHost: false,
    })
  } catch {
    return null
  }
}

/** The service answers, but without an upgrade. */
function passOn(visit: UpgradeVisit, answer: IncomingMessage, cut: () => void): void {
  const response = answerOn(visit)
  if (writeHead(response, answer)) {
    pipeline(answer, response, cut)
    return
  }
  refuseVisitor(visit.request, response, refusalOf(null))
  cut()
}

function join(
  { socket, head }: UpgradeVisit,
  answer: IncomingMessage,
  tunnel: Duplex,
  rest: Buffer,
): void {
  const lines = [`HTTP/1.1 101 ${answer.statusMessage ?? ''}`]
  const headers = [...responseHeaders(answer), 'connection', 'upgrade']
  headers.push('upgrade', answer.headers.upgrade ?? '')
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  if (rest.length > 0) socket.write(rest)
  if (head.length > 0) tunnel.write(head)
  joinStreams(socket, tunnel)
}

/** An ordinary answer on the connection that asked for an upgrade: its last. */
export function answerOn({
  request,
  socket,
}: Pick<UpgradeVisit, 'request' | 'socket'>): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  return response
}
