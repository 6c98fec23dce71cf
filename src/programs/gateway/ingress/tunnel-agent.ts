/** Keeps the tunnels to one port of one copy of a service, and gives them to one request after another. */
import { Agent, type ClientRequest, type ClientRequestArgs } from 'node:http'
import { Duplex } from 'node:stream'
import { Fault } from '../../../core/base/refusal.ts'
import type { TunnelPurpose } from '../../../core/protocol/tunnel.ts'
import type { IngressTarget } from './ingress-table.ts'

/** One service must not take all the tunnels of its node. */
export const MAX_EXCHANGES_PER_REPLICA = 1024
/** Tunnels that wait for the next request. */
const MAX_IDLE_TUNNELS = 32
/** Less than the 5 s after which many servers hang up, so that few requests meet a closing door. */
const IDLE_MS = 4_000
/** A service that was told that nothing more comes may say its last words for so long. */
const LAST_WORDS_MS = 2_000

export class TunnelAgent extends Agent {
  /** Requests and upgraded connections under way; counted by whoever runs them. */
  running = 0
  readonly #target: IngressTarget
  readonly #replica: number
  /** What lets an idle tunnel go on. */
  readonly #wake = new WeakMap<Duplex, () => void>()

  constructor(target: IngressTarget, replica: number) {
    super({ keepAlive: true, maxFreeSockets: MAX_IDLE_TUNNELS, scheduling: 'lifo' })
    this.#target = target
    this.#replica = replica
  }

  /** A tunnel of one's own. Throws a Fault. */
  async open(signal?: AbortSignal): Promise<Duplex> {
    const { lease, epoch, service, port } = this.#target
    const link = this.#target.link()
    if (link === null)
      throw new Fault('tunnel_lost', `the node of ${lease} has no link`, { retryable: true })
    const replica = this.#replica
    const purpose: TunnelPurpose = { kind: 'tcp', lease, epoch, service, replica, port }
    return link.openTunnel(purpose, signal === undefined ? {} : { signal })
  }

  override createConnection(
    _options: ClientRequestArgs,
    created?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.open().then(
      (stream) => {
        // The client ends its direction when the connection is not to be kept.
        stream.once('finish', () => {
          const timer = setTimeout(() => stream.destroy(), LAST_WORDS_MS)
          stream.once('close', () => clearTimeout(timer))
        })
        // Of a socket's own methods this is the one that `reuseSocket` needs.
        created?.(null, Object.assign(stream, { ref: () => stream }))
      },
      (error: unknown) => created?.(error instanceof Error ? error : new Error('failed'), NONE),
    )
  }

  /** Called by node:http; the base class would call methods that only sockets have. */
  override keepSocketAlive(stream: Duplex): boolean {
    if (stream.destroyed || stream.readableEnded || stream.readableLength > 0) return false
    const hangUp = (): void => void stream.destroy()
    const timer = setTimeout(hangUp, IDLE_MS).unref()
    // Whatever a service says unasked would be taken for the next answer.
    stream.on('data', hangUp).on('end', hangUp)
    this.#wake.set(stream, () => {
      clearTimeout(timer)
      stream.off('data', hangUp).off('end', hangUp)
    })
    return true
  }

  override reuseSocket(stream: Duplex, request: ClientRequest): void {
    this.#wake.get(stream)?.()
    super.reuseSocket(stream, request)
  }

  get unused(): boolean {
    return this.running === 0 && Object.keys(this.freeSockets).length === 0
  }
}

/** node:http ignores the stream that comes with an error. */
const NONE = new Duplex()
