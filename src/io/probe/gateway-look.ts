/**
 * What a node sees of a gateway before it links: name, connection, link, clock. Takes the link's first frame
 * and leaves without a word, so it needs no key and changes nothing there.
 */
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { WebSocket } from 'ws'
import { isRecord } from '../../core/protocol/read-fields.ts'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { FRAME, MAX_MESSAGE_BYTES, readFrames } from '../../core/protocol/frame.ts'
import { challengeSchema, LINK_PATH, type Challenge } from '../../core/protocol/link.ts'

/** How far we came. Each step needs the one before. */
export type GatewayLook = {
  /** Without a path. */
  readonly origin: string
  readonly failed: { readonly step: 'name' | 'connect' | 'link'; readonly reason: string } | null
  /** Shortest of a few TCP handshakes: one round trip. */
  readonly roundTripMs: number | null
  readonly challenge: Challenge | null
  /** The gateway's clock minus ours; exact to about half a round trip, or a second where only HTTP told it. */
  readonly skewMs: number | null
}

const STEP_MS = 10_000
const CONNECTS = 3

/** `url`: http, https, ws or wss. Throws only for an address that is none, and when aborted. */
export async function lookAtGateway(url: string, signal: AbortSignal): Promise<GatewayLook> {
  const base = URL.canParse(url) ? new URL(url) : null
  if (!base || !/^(https?|wss?):$/.test(base.protocol))
    throw new Fault(
      'gateway_address',
      `${url} is no gateway address such as https://gateway.example`,
    )
  const none = { origin: base.origin, roundTripMs: null, challenge: null, skewMs: null }
  const failed = (step: 'name' | 'connect' | 'link', error: unknown) => {
    signal.throwIfAborted()
    return { step, reason: reasonOf(error) }
  }
  const host = base.hostname.replace(/^\[|\]$/g, '')
  try {
    await lookup(host)
  } catch (error) {
    return { ...none, failed: failed('name', error) }
  }
  const port = Number(base.port) || (/^(https|wss):$/.test(base.protocol) ? 443 : 80)
  let roundTripMs = Infinity
  try {
    for (let i = 0; i < CONNECTS; i++)
      roundTripMs = Math.min(roundTripMs, await timeConnect(host, port, signal))
  } catch (error) {
    return { ...none, failed: failed('connect', error) }
  }
  try {
    const { challenge, heardAtMs } = await hearChallenge(base, signal)
    const skewMs = challenge.nowMs + roundTripMs / 2 - heardAtMs
    return { ...none, roundTripMs, challenge, skewMs: Math.round(skewMs), failed: null }
  } catch (error) {
    const skewMs = await skewOverHttp(base, signal).catch(() => null)
    return { ...none, roundTripMs, skewMs, failed: failed('link', error) }
  }
}

/** Where a proxy swallows the link, plain HTTP may still tell the time. */
async function skewOverHttp(base: URL, signal: AbortSignal): Promise<number | null> {
  const address = `${base.href.replace(/^ws/, 'http').replace(/\/+$/, '')}/healthz`
  const askedAtMs = Date.now()
  const response = await fetch(address, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)]),
  })
  const middleMs = (askedAtMs + Date.now()) / 2
  const body: unknown = await response.json().catch(() => null)
  const told = isRecord(body) ? body['nowMs'] : null
  const serverMs = typeof told === 'number' ? told : Date.parse(response.headers.get('date') ?? '')
  return Number.isFinite(serverMs) ? Math.round(serverMs - middleMs) : null
}

async function timeConnect(host: string, port: number, signal: AbortSignal): Promise<number> {
  const start = performance.now()
  const socket = connect({ host, port })
  const stop = AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)])
  const giveUp = () => socket.destroy(new Error(`no answer within ${STEP_MS} ms`))
  stop.addEventListener('abort', giveUp, { once: true })
  try {
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject)
    })
    return performance.now() - start
  } finally {
    stop.removeEventListener('abort', giveUp)
    socket.destroy()
  }
}

/** Opens the link's WebSocket, waits for the gateway's first frame, and leaves. */
async function hearChallenge(
  base: URL,
  signal: AbortSignal,
): Promise<{ challenge: Challenge; heardAtMs: number }> {
  const address = base.href.replace(/^http/, 'ws').replace(/\/+$/, '') + LINK_PATH
  const socket = new WebSocket(address, {
    handshakeTimeout: STEP_MS,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  })
  const stop = AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)])
  try {
    return await new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('close', (code, reason) => {
        reject(new Error(`the gateway closed the link: ${code} ${reason.toString()}`))
      })
      socket.once('message', (data) => {
        const heardAtMs = Date.now()
        const challenge = Buffer.isBuffer(data) ? readChallenge(data) : null
        if (challenge) resolve({ challenge, heardAtMs })
        else reject(new Error('what answers there does not speak the node link'))
      })
      stop.addEventListener('abort', () => {
        reject(new Error(`no challenge within ${STEP_MS} ms`))
      })
    })
  } finally {
    socket.removeAllListeners('error').on('error', () => {})
    socket.terminate()
  }
}

function readChallenge(message: Buffer): Challenge | null {
  let challenge: Challenge | null = null
  readFrames(message, (type, _stream, payload) => {
    if (type !== FRAME.CHALLENGE) return
    try {
      challenge = challengeSchema.parse(JSON.parse(Buffer.from(payload).toString()))
    } catch {
      // Not a challenge after all: the caller says so.
    }
  })
  return challenge
}
