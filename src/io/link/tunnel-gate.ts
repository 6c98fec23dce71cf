/**
 * The gateway's end of tunnels: asks a node over its link, and takes the dial that proves it is the answer.
 * A tunnel is known by its node, not by the link it was asked on, so it outlives a link that breaks and returns.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { idFrom } from '../../core/base/id.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  MAX_TUNNELS_PER_NODE,
  TUNNEL_ANSWER_DOMAIN,
  TUNNEL_ANSWER_HEADER,
  TUNNEL_DOMAIN,
  TUNNEL_ID_HEADER,
  TUNNEL_IDLE_MS,
  TUNNEL_OPEN_MS,
  TUNNEL_SIGNATURE_HEADER,
  TUNNEL_TOTAL_MS,
  tunnelAnswerText,
  tunnelText,
  type OpenTunnel,
  type TunnelPurpose,
  type TunnelRefused,
} from '../../core/protocol/tunnel.ts'
import { verifySignature, type Identity } from '../keys/identity.ts'
import { TUNNEL_OPTIONS, TunnelStream, type TunnelTimes } from './tunnel-stream.ts'

export type TunnelLimits = TunnelTimes & {
  /** From asking the node to its dial. */
  readonly openMs: number
  readonly perNode: number
  /** A node that is not back on a link after so long is gone, and with it the other end of its tunnels. */
  readonly unlinkedMs: number
}

/** The linked node that is asked. */
export type AskedNode = {
  readonly node: string
  readonly nodeKey: string
  ask(open: OpenTunnel): void
}

/** Three tries to link again, with the pauses between them. */
const UNLINKED_MS = 30_000

const DEFAULT_LIMITS: TunnelLimits = {
  openMs: TUNNEL_OPEN_MS,
  perNode: MAX_TUNNELS_PER_NODE,
  idleMs: TUNNEL_IDLE_MS,
  totalMs: TUNNEL_TOTAL_MS,
  unlinkedMs: UNLINKED_MS,
}

type Pending = {
  readonly asked: AskedNode
  readonly tunnel: string
  readonly secret: string
  readonly opened: (stream: TunnelStream) => void
  readonly failed: (why: Error) => void
}

type NodeTunnels = {
  readonly pending: Set<Pending>
  readonly open: Set<TunnelStream>
  /** Since when it has had no link. */
  unlinkedAt: Millis | null
}

export class TunnelGate {
  readonly #identity: Identity
  readonly #now: () => Millis
  readonly #limits: TunnelLimits
  readonly #sockets = new WebSocketServer({ ...TUNNEL_OPTIONS, noServer: true })
  readonly #pending = new Map<string, Pending>()
  readonly #nodes = new Map<string, NodeTunnels>()
  /** The dials that are being taken. */
  readonly #answers = new WeakMap<IncomingMessage, string>()

  constructor(identity: Identity, now: () => Millis, limits: Partial<TunnelLimits> = {}) {
    this.#identity = identity
    this.#now = now
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#sockets.on('headers', (headers, request) => {
      const answer = this.#answers.get(request)
      if (answer !== undefined) headers.push(`${TUNNEL_ANSWER_HEADER}: ${answer}`)
    })
  }

  /**
   * Asks the node and waits for its dial. Throws the signal's reason, or a Fault: `tunnel_limit`, `tunnel_late`,
   * `tunnel_lost`, or the node's own `TunnelRefusalCode`.
   */
  open(asked: AskedNode, purpose: TunnelPurpose, signal?: AbortSignal): Promise<TunnelStream> {
    signal?.throwIfAborted()
    const tunnels = this.#tunnelsOf(asked.node)
    const { openMs, perNode } = this.#limits
    if (tunnels.open.size + tunnels.pending.size >= perNode) throw tooMany(asked.node, perNode)
    const tunnel = idFrom('tun', randomBytes(15))
    const secret = randomBytes(32).toString('base64url')
    return new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#pending.delete(tunnel)
        tunnels.pending.delete(pending)
        then()
        this.#forgetIfUnused(asked.node)
      }
      const pending: Pending = {
        asked,
        tunnel,
        secret,
        opened: (stream) => settle(() => resolve(stream)),
        failed: (why) => settle(() => reject(why)),
      }
      const onAbort = () => pending.failed(abortReason(signal))
      signal?.addEventListener('abort', onAbort)
      const timer = setTimeout(() => pending.failed(late(asked.node, openMs)), openMs)
      this.#pending.set(tunnel, pending)
      tunnels.pending.add(pending)
      asked.ask({ tunnel, secret, withinMs: openMs, purpose })
    })
  }

  /** Takes over an HTTP upgrade for TUNNEL_PATH. Everything unproven hears the same 403. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const pending = this.#proven(request)
    if (pending === null || !(socket instanceof Socket)) {
      socket.on('error', () => {}) // it may go before it hears the answer
      socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n', () => socket.destroy())
      return
    }
    // Single use, whatever becomes of the upgrade.
    this.#pending.delete(pending.tunnel)
    this.#answers.set(request, this.#answerTo(pending))
    let stream: TunnelStream | null = null
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      stream = new TunnelStream(ws, socket, this.#limits, this.#now)
      this.#enter(pending.asked.node, stream)
      pending.opened(stream)
    })
    if (stream === null)
      pending.failed(new Fault('tunnel_lost', `the dial of ${pending.asked.node} was no WebSocket`))
  }

  /** The node said no. One that was not asked, or too late, says it to nobody. */
  refused(node: string, { tunnel, code, message }: TunnelRefused): void {
    const pending = this.#pending.get(tunnel)
    if (pending?.asked.node !== node) return
    pending.failed(new Fault(code, message, { retryable: RETRYABLE.has(code) }))
  }

  /** The node has a link now. */
  linked(node: string): void {
    const tunnels = this.#nodes.get(node)
    if (tunnels) tunnels.unlinkedAt = null
  }

  /** Its link closed: what it was asked is lost; what is open may go on. */
  unlinked(node: string, reason: string): void {
    const tunnels = this.#nodes.get(node)
    if (!tunnels) return
    tunnels.unlinkedAt = this.#now()
    for (const { failed } of tunnels.pending)
      failed(new Fault('tunnel_lost', `the link of ${node} closed: ${reason}`, { retryable: true }))
  }

  tick(now: Millis): void {
    for (const [node, { open, unlinkedAt }] of this.#nodes) {
      const gone = unlinkedAt !== null && now - unlinkedAt > this.#limits.unlinkedMs
      for (const stream of open) {
        if (gone) stream.destroy(new Fault('tunnel_lost', `${node} did not link again`))
        else stream.tick(now)
      }
    }
  }

  async close(): Promise<void> {
    const why = new Fault('shutting_down', 'the gateway shuts down')
    for (const { failed } of this.#pending.values()) failed(why)
    for (const { open } of this.#nodes.values()) for (const stream of open) stream.destroy(why)
    await new Promise<void>((resolve) => {
      this.#sockets.close(() => resolve())
    })
  }

  /** The question that this dial answers; null unless id, secret and the asked node's signature are right. */
  #proven({ headers }: IncomingMessage): Pending | null {
    const { [TUNNEL_ID_HEADER]: tunnel, [TUNNEL_SIGNATURE_HEADER]: signature } = headers
    if (typeof tunnel !== 'string' || typeof signature !== 'string') return null
    const pending = this.#pending.get(tunnel)
    if (pending === undefined) return null
    const { secret, asked } = pending
    if (!sameText(headers.authorization ?? '', `Bearer ${secret}`)) return null
    const text = tunnelText(this.#identity.id, tunnel, secret)
    return verifySignature(asked.nodeKey, TUNNEL_DOMAIN, text, signature) ? pending : null
  }

  /** Proves to the node that the one who asked for the tunnel took its dial. */
  #answerTo({ asked, tunnel, secret }: Pending): string {
    const text = tunnelAnswerText(this.#identity.id, asked.node, tunnel, secret)
    return this.#identity.sign(TUNNEL_ANSWER_DOMAIN, text)
  }

  #enter(node: string, stream: TunnelStream): void {
    this.#tunnelsOf(node).open.add(stream)
    stream.once('close', () => {
      this.#nodes.get(node)?.open.delete(stream)
      this.#forgetIfUnused(node)
    })
    // Who holds the stream hears its error too; before anyone does, it must not end the process.
    stream.on('error', () => {})
  }

  #tunnelsOf(node: string): NodeTunnels {
    const known = this.#nodes.get(node)
    if (known) return known
    const tunnels: NodeTunnels = { pending: new Set(), open: new Set(), unlinkedAt: null }
    this.#nodes.set(node, tunnels)
    return tunnels
  }

  #forgetIfUnused(node: string): void {
    const tunnels = this.#nodes.get(node)
    if (tunnels?.open.size === 0 && tunnels.pending.size === 0) this.#nodes.delete(node)
  }
}

/** Asking again, or another replica, may help. */
const RETRYABLE: ReadonlySet<string> = new Set([
  'tunnel_limit',
  'service_not_running',
  'port_refused',
])

const tooMany = (node: string, limit: number): Fault =>
  new Fault('tunnel_limit', `${node} has ${limit} tunnels already`, { retryable: true })

const late = (node: string, openMs: number): Fault =>
  new Fault('tunnel_late', `${node} did not dial within ${openMs} ms`, { retryable: true })

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
