/** A WebSocket on its way to a service: the handshake as it came, then bytes both ways until both ends are done. */
import { request as send, ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { pipeline, type Duplex } from 'node:stream'
import { requestHeaders, responseHeaders } from './forward-headers.ts'
import { refusalOf, refuseVisitor, tooBusy, tooSlow } from './ingress-answer.ts'
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
    if (tunnel !== null) await shakeHands(visit, tunnel)
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

/** Resolves when both connections have closed. */
function shakeHands(visit: UpgradeVisit, tunnel: Duplex): Promise<void> {
  const { request, socket, path, target, behindProxy } = visit
  const { readTimeoutMs } = target.http
  const out = send({
    createConnection: () => tunnel,
    method: request.method,
    path,
    headers: [
      ...requestHeaders(request, behindProxy),
      'connection',
      'upgrade',
      'upgrade',
      request.headers.upgrade ?? '',
    ],
    setHost: false,
  })
  const slow = (): void => {
    refuseVisitor(request, answerOn(visit), tooSlow('read', readTimeoutMs))
    tunnel.destroy()
  }
  const timer = readTimeoutMs > 0 ? setTimeout(slow, readTimeoutMs) : undefined
  const cut = (): void => void tunnel.destroy()
  socket.on('close', cut)
  out.once('upgrade', (answer, _tunnel, rest) => {
    clearTimeout(timer)
    join(visit, answer, tunnel, rest)
  })
  out.once('response', (answer) => {
    clearTimeout(timer)
    const response = answerOn(visit)
    response.writeHead(
      answer.statusCode ?? 502,
      answer.statusMessage ?? '',
      responseHeaders(answer),
    )
    pipeline(answer, response, cut)
  })
  out.once('error', (error) => {
    clearTimeout(timer)
    if (!socket.destroyed && !socket.writableEnded)
      refuseVisitor(request, answerOn(visit), refusalOf(error))
  })
  out.end()
  return new Promise((resolve) => tunnel.once('close', () => resolve()))
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
  // Each direction ends on its own; an error of either ends both.
  const over = (error: NodeJS.ErrnoException | null): void => {
    if (error === null || error === undefined) return
    socket.destroy()
    tunnel.destroy()
  }
  pipeline(socket, tunnel, over)
  pipeline(tunnel, socket, over)
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
