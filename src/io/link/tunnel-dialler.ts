/**
 * The node's end of tunnels: hears what the gateway asks for over the link, and dials when the node agrees.
 * Tunnels are the node's, not the link's: they outlive a link that breaks, and end with the process.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  MAX_TUNNELS_PER_NODE,
  parsePurpose,
  TUNNEL_ANSWER_DOMAIN,
  TUNNEL_ANSWER_HEADER,
  TUNNEL_DOMAIN,
  TUNNEL_ID_HEADER,
  TUNNEL_IDLE_MS,
  TUNNEL_SIGNATURE_HEADER,
  TUNNEL_TOTAL_MS,
  tunnelAnswerText,
  tunnelText,
  type OpenTunnel,
  type TunnelPurpose,
  type TunnelRefusalCode,
  type TunnelRefused,
} from '../../core/protocol/tunnel.ts'
import { verifySignature, type Identity } from '../keys/identity.ts'
import { TUNNEL_OPTIONS, TunnelStream } from './tunnel-stream.ts'

/** What the gateway asks for. Answer once, within its time: `accept` when the other side stands ready, or `refuse`. */
export type IncomingTunnel = {
  readonly tunnel: string
  readonly purpose: TunnelPurpose
  /** Dials. A Fault when the time is over, the gateway no longer wants it, or it cannot be reached. */
  accept(): Promise<Duplex>
  refuse(code: TunnelRefusalCode, message: string): void
}

export type TunnelDiallerOptions = {
  readonly url: string
  readonly identity: Identity
  readonly now: () => Millis
  /** Without it every tunnel is refused: this node does no such thing. */
  readonly onTunnel: ((request: IncomingTunnel) => void) | undefined
}

const TIMES = { idleMs: TUNNEL_IDLE_MS, totalMs: TUNNEL_TOTAL_MS }
const TICK_MS = 5_000

/** As it proved itself on the link. */
export type ProvenGateway = { readonly gateway: string; readonly gatewayKey: string }

type Asked = OpenTunnel & {
  readonly purpose: unknown
  readonly by: ProvenGateway
  readonly askedAt: Millis
  readonly sayNo: (refused: TunnelRefused) => void
}

export class TunnelDialler {
  readonly #options: TunnelDiallerOptions
  /** Asked and not yet answered, or open. */
  readonly #asked = new Set<string>()
  readonly #open = new Set<TunnelStream>()
  /** Under way, open, or closing. */
  readonly #sockets = new Set<WebSocket>()
  readonly #ticker: NodeJS.Timeout
  #closed = false

  constructor(options: TunnelDiallerOptions) {
    this.#options = options
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
    this.#ticker.unref()
  }

  /** OPEN_TUNNEL came. `sayNo` tells the link that it came on. */
  asked(open: OpenTunnel, by: ProvenGateway, sayNo: (refused: TunnelRefused) => void): void {
    const { tunnel, withinMs } = open
    const purpose = parsePurpose(open.purpose)
    const refuse = (code: TunnelRefusalCode, message: string) => {
      this.#asked.delete(tunnel)
      clearTimeout(timer)
      sayNo({ tunnel, code, message: message.slice(0, 2000) })
    }
    const timer = setTimeout(() => this.#asked.delete(tunnel), withinMs).unref()
    const { onTunnel, now } = this.#options
    if (this.#closed) return refuse('tunnel_unsupported', 'the node shuts down')
    if (purpose === null || onTunnel === undefined)
      return refuse('tunnel_unsupported', 'this node does not do such a thing')
    if (this.#asked.size + this.#open.size >= MAX_TUNNELS_PER_NODE)
      return refuse('tunnel_limit', `${MAX_TUNNELS_PER_NODE} tunnels are open`)
    this.#asked.add(tunnel)
    const asked: Asked = { ...open, by, askedAt: now(), sayNo }
    onTunnel({
      tunnel,
      purpose,
      refuse,
      accept: async () => {
        clearTimeout(timer)
        try {
          return await this.#dial(asked)
        } finally {
          this.#asked.delete(tunnel)
        }
      },
    })
  }

  /** Ends every tunnel, and waits until the gateway has heard it, or 2 s. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#ticker)
    const why = new Fault('shutting_down', 'the node shuts down')
    for (const stream of this.#open) stream.destroy(why)
    await Promise.all(
      [...this.#sockets].map((ws) => {
        if (ws.readyState === ws.CONNECTING) ws.terminate()
        return once(ws, 'close')
      }),
    )
  }

  #dial(asked: Asked): Promise<Duplex> {
    const { tunnel, secret, by, withinMs, askedAt } = asked
    const { url, identity, now } = this.#options
    const leftMs = askedAt + withinMs - now()
    if (this.#closed) throw new Fault('shutting_down', 'the node shuts down')
    if (leftMs <= 0) throw new Fault('tunnel_late', `${withinMs} ms for the dial are over`)
    const ws = new WebSocket(url, {
      ...TUNNEL_OPTIONS,
      handshakeTimeout: leftMs,
      headers: {
        authorization: `Bearer ${secret}`,
        [TUNNEL_ID_HEADER]: tunnel,
        [TUNNEL_SIGNATURE_HEADER]: identity.sign(
          TUNNEL_DOMAIN,
          tunnelText(by.gateway, tunnel, secret),
        ),
      },
    })
    this.#sockets.add(ws)
    return new Promise((resolve, reject) => {
      let tcp: Socket | null = null
      let answer: string | string[] | undefined
      ws.on('upgrade', ({ socket, headers }) => {
        tcp = socket
        answer = headers[TUNNEL_ANSWER_HEADER]
      })
      ws.on('close', () => this.#sockets.delete(ws))
      ws.on('open', () => {
        if (!this.#proves(answer, asked)) {
          ws.terminate()
          reject(unproven(ws.url, by.gateway))
        } else if (tcp !== null) resolve(this.#enter(ws, tcp))
      })
      ws.on('error', (cause) => {
        const message = `the gateway did not take the dial: ${reasonOf(cause)}`
        reject(new Fault('tunnel_lost', message, { cause }))
      })
    })
  }

  /** Whether the one who took the dial is the gateway that asked for it. */
  #proves(answer: string | string[] | undefined, { tunnel, secret, by }: Asked): boolean {
    if (typeof answer !== 'string') return false
    const text = tunnelAnswerText(by.gateway, this.#options.identity.id, tunnel, secret)
    return verifySignature(by.gatewayKey, TUNNEL_ANSWER_DOMAIN, text, answer)
  }

  #enter(ws: WebSocket, tcp: Socket): TunnelStream {
    const stream = new TunnelStream(ws, tcp, TIMES, this.#options.now)
    this.#open.add(stream)
    stream.once('close', () => this.#open.delete(stream))
    // Who holds the stream hears its error too; before anyone does, it must not end the process.
    stream.on('error', () => {})
    return stream
  }

  #tick(): void {
    const now = this.#options.now()
    for (const stream of this.#open) stream.tick(now)
  }
}

function unproven(url: string, gateway: string): Fault {
  const { origin, pathname } = new URL(url) // no user, no password
  return new Fault(
    'tunnel_unproven',
    `${origin}${pathname} took the dial without the signature of ${gateway}, which asked for it; ask its operator what answers there`,
  )
}
