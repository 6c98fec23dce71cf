/**
 * Tunnels from tenants into their leases: a WebSocket whose bytes are those of a tunnel to the node. Whatever may be
 * refused is refused before the upgrade, as an HTTP answer that a person can read.
 */
import { ServerResponse, type IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { finished, type Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { Fault, isRefusal, reasonOf, refuse, type Refusal } from '../../core/base/refusal.ts'
import {
  parsePurpose,
  TUNNEL_IDLE_MS,
  TUNNEL_OPEN_MS,
  TUNNEL_TOTAL_MS,
} from '../../core/protocol/tunnel.ts'
import { CORS_HEADERS } from '../../io/http/cors.ts'
import { sendRefusal } from '../../io/http/respond.ts'
import { TUNNEL_OPTIONS, TunnelStream } from '../../io/link/tunnel-stream.ts'
import type { ControlParts } from './control/control-parts.ts'
import { noLeases } from './control/deployment-guard.ts'
import type { LeaseService, TunnelWish } from './leases/lease-service.ts'

export type LeaseTunnels = {
  /** Takes over the upgrade of such a path and returns true; false, and nothing touched, for any other. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** Ends every tunnel: their tenants ask another gateway. */
  close(): void
}

/** Open, and being opened. A browser's connections through a forwarded port are a dozen a person. */
export const MAX_TUNNELS_PER_ACCOUNT = 256
/** The node's own time to dial, and a moment for the database before it. */
const OPEN_MS = TUNNEL_OPEN_MS + 5_000
const TIMES = { idleMs: TUNNEL_IDLE_MS, totalMs: TUNNEL_TOTAL_MS }
const TICK_MS = 5_000

const PATH = /^\/v1\/deployments\/([^/?]+)\/tunnel(?:\?|$)/

type TunnelParts = Pick<ControlParts, 'authenticate' | 'leases' | 'now' | 'logger'>
type Asked = {
  readonly account: string
  readonly deployment: string
  readonly wish: TunnelWish
  readonly leases: LeaseService
}

export function createLeaseTunnels(parts: TunnelParts): LeaseTunnels {
  const sockets = new WebSocketServer({ ...TUNNEL_OPTIONS, noServer: true })
  const perAccount = new Map<string, number>()
  const open = new Set<TunnelStream>()
  const closing = new AbortController()
  const ticker = setInterval(() => {
    const now = parts.now()
    for (const stream of open) stream.tick(now)
  }, TICK_MS)
  ticker.unref()

  const leave = (account: string): void => {
    const left = (perAccount.get(account) ?? 1) - 1
    if (left > 0) perAccount.set(account, left)
    else perAccount.delete(account)
  }

  async function take(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const asked = await read(parts, request)
    if (isRefusal(asked)) return answer(request, socket, asked)
    const { account } = asked
    const count = perAccount.get(account) ?? 0
    if (count >= MAX_TUNNELS_PER_ACCOUNT) return answer(request, socket, tooMany())
    perAccount.set(account, count + 1)
    const far = await openFar(asked, closing.signal)
    if (isRefusal(far) || socket.destroyed) {
      leave(account)
      if (isRefusal(far)) answer(request, socket, far)
      else far.destroy()
      return
    }
    far.once('close', () => leave(account))
    join(request, socket, head, far)
  }

  function join(request: IncomingMessage, socket: Socket, head: Buffer, far: Duplex): void {
    let near: TunnelStream | null = null
    sockets.handleUpgrade(request, socket, head, (ws) => {
      near = new TunnelStream(ws, socket, TIMES, parts.now)
      const stream = near
      open.add(stream)
      stream.once('close', () => open.delete(stream))
      relay(stream, far)
    })
    // It was no WebSocket after all; it has heard so.
    if (near === null) far.destroy()
  }

  return {
    upgrade(request, socket, head) {
      if (!PATH.test(request.url ?? '') || !(socket instanceof Socket)) return false
      // It may go while the node is asked.
      socket.on('error', () => {})
      take(request, socket, head).catch((error: unknown) => {
        parts.logger.error('tunnel failed', { error: reasonOf(error) })
        answer(request, socket, refuse('internal_error', 'The gateway failed. Its log tells more.'))
      })
      return true
    },
    close() {
      clearInterval(ticker)
      closing.abort(new Fault('shutting_down', 'the gateway shuts down'))
      for (const stream of open)
        stream.destroy(new Fault('shutting_down', 'the gateway shuts down'))
      sockets.close()
    },
  }
}

/** Who asks, for what, of whom. */
async function read(
  { authenticate, leases }: TunnelParts,
  { headers, url = '' }: IncomingMessage,
): Promise<Asked | Refusal> {
  const caller = await authenticate(headers.authorization ?? null, 'deployments').catch(away)
  if (isRefusal(caller)) return caller
  if (leases === null) return noLeases()
  const wish = wishOf(url)
  if (isRefusal(wish)) return wish
  const deployment = decoded(PATH.exec(url)?.[1] ?? '')
  return { account: caller.account, deployment, wish, leases }
}

function wishOf(url: string): TunnelWish | Refusal {
  const { searchParams } = new URL(url, 'http://gateway')
  const text = searchParams.get('wish')
  if (text === null)
    return refuse('missing_parameter', "Missing required parameter: 'wish'.", { param: 'wish' })
  const given = jsonOf(Buffer.from(text, 'base64url').toString())
  const lease = 'lease' in given && typeof given.lease === 'string' ? given.lease : null
  // Place and epoch are the book's to fill in; the rest has the limits of any purpose.
  const purpose = parsePurpose({ ...given, lease: lease ?? 'unplaced', epoch: 0 })
  if (purpose !== null) {
    const { epoch: _, ...wish } = purpose
    return { ...wish, lease }
  }
  const why =
    "'wish' is not the base64url JSON of a tunnel that this gateway knows, or over a limit."
  return refuse('invalid_value', why, { param: 'wish' })
}

async function openFar(
  { account, deployment, wish, leases }: Asked,
  closing: AbortSignal,
): Promise<Duplex | Refusal> {
  try {
    const signal = AbortSignal.any([closing, AbortSignal.timeout(OPEN_MS)])
    return await leases.openTunnel(account, deployment, wish, signal)
  } catch (error) {
    return refusalOf(error)
  }
}

/** What a node said, or why nobody said anything. */
function refusalOf(error: unknown): Refusal {
  const code = error instanceof Fault ? error.code : 'tunnel_late'
  const message = reasonOf(error)
  if (code === 'store_unavailable') return away()
  if (code === 'shutting_down')
    return refuse('shutting_down', 'This gateway is leaving. Ask again.')
  const details = { code }
  if (NOT_HEARD.has(code))
    return refuse('tunnel_failed', `The node could not be reached: ${message}. Try again.`, {
      retryAfterS: 1,
      details,
    })
  const more = error instanceof Fault && error.retryable ? { retryAfterS: 1, details } : { details }
  return refuse('tunnel_refused', `The node refused: ${message}`, more)
}

const NOT_HEARD: ReadonlySet<string> = new Set(['tunnel_late', 'tunnel_lost', 'link_closed'])

const away = (): Refusal =>
  refuse('store_unavailable', 'The database does not answer. Try again shortly.', {
    retryAfterS: 2,
  })

const tooMany = (): Refusal =>
  refuse(
    'concurrency_limit_exceeded',
    `Your account has ${MAX_TUNNELS_PER_ACCOUNT} tunnels open here. Close some first.`,
    { details: { limit: MAX_TUNNELS_PER_ACCOUNT } },
  )

/** An ordinary answer on a socket that no server looks after any more. */
function answer(request: IncomingMessage, socket: Socket, refusal: Refusal): void {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.destroySoon())
  sendRefusal(response, refusal, CORS_HEADERS)
}

/** Bytes both ways, each direction ended on its own; an end that breaks takes the other with it, and says why. */
function relay(near: Duplex, far: Duplex): void {
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.pipe(other)
    // `finished` hears the first error; one that comes after it must not end the process.
    one.on('error', () => {})
    finished(one, (error) => {
      if (error) other.destroy(error instanceof Fault ? error : lost(error))
    })
  }
}

const lost = (cause: Error): Fault => new Fault('tunnel_lost', reasonOf(cause), { cause })

function jsonOf(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
