/** The tenant's end of a tunnel into a lease: a WebSocket to the gateway, as a stream. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { text as readAll } from 'node:stream/consumers'
import { WebSocket } from 'ws'
import { Fault } from '../../../core/base/refusal.ts'
import { TUNNEL_IDLE_MS, TUNNEL_TOTAL_MS } from '../../../core/protocol/tunnel.ts'
import { TUNNEL_OPTIONS, TunnelStream } from '../../../io/link/tunnel-stream.ts'
import type { TunnelWish } from '../../gateway/leases/lease-service.ts'
import type { Access } from './client-settings.ts'
import { EXIT, Failure } from './failure.ts'
import { refusalFailure, unreachable } from './gateway-client.ts'

/** The gateway enforces them; this end only has to know that they exist. */
const TIMES = { idleMs: TUNNEL_IDLE_MS, totalMs: TUNNEL_TOTAL_MS }
/** Request line and headers together may be 16 KiB. */
const MAX_WISH_CHARS = 12 * 1024

/** Opens a tunnel. Throws Failure: `refused` with the gateway's or node's words, `unreachable`, or `interrupted`. */
export function openTunnel(
  access: Access,
  deployment: string,
  wish: TunnelWish,
  signal: AbortSignal,
): Promise<TunnelStream> {
  const path = tunnelPath(deployment, wish)
  const ws = new WebSocket(access.url.replace(/^http/, 'ws') + path, {
    ...TUNNEL_OPTIONS,
    handshakeTimeout: access.timeoutMs,
    headers: access.apiKey === null ? {} : { authorization: `Bearer ${access.apiKey}` },
  })
  return new Promise((resolve, reject) => {
    let tcp: Socket | null = null
    const stop = (): void => ws.terminate()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    const settle = (then: () => void): void => {
      signal.removeEventListener('abort', stop)
      then()
    }
    ws.on('upgrade', ({ socket }) => (tcp = socket))
    ws.on('open', () =>
      settle(() => {
        if (tcp !== null) resolve(quiet(new TunnelStream(ws, tcp, TIMES, Date.now)))
      }),
    )
    ws.on('error', (error) =>
      settle(() => reject(signal.aborted ? interrupted() : unreachable(access, error))),
    )
    ws.on('unexpected-response', (_, response) => {
      void failureOfAnswer(response, path).then((failure) => settle(() => reject(failure)))
    })
  })
}

/** The same, and the signal ends the tunnel, too. */
export async function openBoundTunnel(
  access: Access,
  deployment: string,
  wish: TunnelWish,
  signal: AbortSignal,
): Promise<TunnelStream> {
  const tunnel = await openTunnel(access, deployment, wish, signal)
  const stop = (): void => void tunnel.destroy(interrupted())
  signal.addEventListener('abort', stop)
  tunnel.once('close', () => signal.removeEventListener('abort', stop))
  if (signal.aborted) stop()
  return tunnel
}

/** What broke an open tunnel, as a failure of the command. */
export function tunnelFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  const code = error instanceof Fault ? error.code : 'tunnel_lost'
  const message = error instanceof Error ? error.message : String(error)
  if (LOST.has(code))
    return new Failure(EXIT.unreachable, `the connection broke off: ${message}`, {
      code,
      cause: error,
    })
  return new Failure(EXIT.refused, message, { code, cause: error })
}

/** The way was lost, not the thing at its end: asking again may find it. */
const LOST: ReadonlySet<string> = new Set([
  'tunnel_lost',
  'tunnel_failed',
  'tunnel_aborted',
  'tunnel_idle',
  'tunnel_expired',
  'shutting_down',
])

function tunnelPath(deployment: string, wish: TunnelWish): string {
  const text = Buffer.from(JSON.stringify(wish)).toString('base64url')
  if (text.length > MAX_WISH_CHARS)
    throw new Failure(
      EXIT.usage,
      `the command is too long: over ${(MAX_WISH_CHARS * 3) / 4} bytes`,
      {
        next: 'send data on standard input (-i), or copy a script there with `baseload cp`',
      },
    )
  return `/v1/deployments/${encodeURIComponent(deployment)}/tunnel?wish=${text}`
}

async function failureOfAnswer(response: IncomingMessage, path: string): Promise<Failure> {
  const { statusCode: status = 0, headers } = response
  const text = await readAll(response).catch(() => '')
  const where = path.replace(/\?.*/, '')
  return refusalFailure(where, { status, text, retryAfter: headers['retry-after'] ?? null })
}

const interrupted = (): Failure =>
  new Failure(EXIT.interrupted, 'interrupted', { code: 'interrupted' })

/** Whoever reads it hears its error; before anyone does, it must not end the process. */
const quiet = (stream: TunnelStream): TunnelStream => stream.on('error', () => {})
