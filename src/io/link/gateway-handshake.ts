/** The gateway's side of a handshake: CHALLENGE out, HELLO in, WELCOME out. Gone from memory once the node is linked. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Millis } from '../../core/base/time.ts'
import { FRAME, MAX_CONTROL_PAYLOAD_BYTES } from '../../core/protocol/frame.ts'
import {
  helloSchema,
  LINK_VERSIONS,
  WELCOME_DOMAIN,
  welcomeText,
  type Hello,
  type Welcome,
} from '../../core/protocol/link.ts'
import type { Identity } from '../keys/identity.ts'
import { reasonText, type CloseReason } from './close-reason.ts'
import { readJson } from './json-payload.ts'
import type { LinkSocket, LinkSocketOwner } from './link-socket.ts'

export type HandshakeEvents = {
  /** A HELLO that is well formed came: check it, then link or refuse. */
  hello(handshake: GatewayHandshake, hello: Hello, heardAt: Millis): void
  /** Over without a link. */
  failed(handshake: GatewayHandshake, reason: string): void
}

/** A HELLO with the largest offer fits; a stranger gets no more of our memory. */
const MAX_HANDSHAKE_BYTES = MAX_CONTROL_PAYLOAD_BYTES + 64 * 1024

export class GatewayHandshake implements LinkSocketOwner {
  readonly startedAt: Millis
  readonly gateway: string
  readonly nonce = randomBytes(32).toString('base64url')
  /** The Host header of the upgrade. */
  readonly host: string | undefined
  readonly #identity: Identity
  readonly #events: HandshakeEvents
  readonly #tcp: Duplex
  #link: LinkSocket | null = null
  #receivedBytes = 0
  #greeted = false

  constructor(
    identity: Identity,
    { tcp, host }: { tcp: Duplex; host: string | undefined },
    events: HandshakeEvents,
    now: Millis,
  ) {
    this.startedAt = now
    this.gateway = identity.id
    this.host = host
    this.#identity = identity
    this.#tcp = tcp
    this.#events = events
    tcp.on('data', this.#count)
  }

  get socket(): LinkSocket {
    if (this.#link === null) throw new Error('the handshake has not begun')
    return this.#link
  }

  begin(socket: LinkSocket, now: Millis): void {
    this.#link = socket
    socket.writeJson(FRAME.CHALLENGE, 0, {
      versions: LINK_VERSIONS,
      gateway: this.gateway,
      gatewayKey: this.#identity.publicKey,
      nonce: this.nonce,
      nowMs: now,
    })
  }

  /** The node is believed: from here on the link listens. */
  end(): void {
    this.#tcp.off('data', this.#count)
  }

  /** Proves the gateway to the node that said this HELLO. */
  welcome(hello: Hello, link: string, heartbeatMs: number): void {
    const welcome = { link, version: hello.version, heartbeatMs }
    const signature = this.#identity.sign(WELCOME_DOMAIN, welcomeText(this, hello, welcome))
    this.socket.writeJson(FRAME.WELCOME, 0, { ...welcome, signature } satisfies Welcome)
  }

  frame(type: number, stream: number, payload: Uint8Array): void {
    if (type !== FRAME.HELLO || stream !== 0 || this.#greeted) {
      if (!KNOWN_TYPES.has(type)) return
      const what = this.#greeted ? 'before WELCOME' : 'where a HELLO was due'
      this.socket.close('link_malformed_frame', `frame type ${type} on stream ${stream} ${what}`)
      return
    }
    this.#greeted = true
    const hello = readJson(helloSchema, payload)
    if (hello instanceof Error) this.socket.close('link_malformed_frame', `HELLO: ${hello.message}`)
    else this.#events.hello(this, hello, this.socket.lastHeardAt)
  }

  refill(): boolean {
    return false
  }

  closed(reason: CloseReason): void {
    this.end()
    this.#events.failed(this, reasonText(reason))
  }

  readonly #count = (piece: Uint8Array): void => {
    this.#receivedBytes += piece.length
    if (this.#receivedBytes > MAX_HANDSHAKE_BYTES) {
      this.#link?.close(
        'link_frame_too_large',
        `${this.#receivedBytes} bytes before the link stands, limit ${MAX_HANDSHAKE_BYTES}`,
      )
      this.#tcp.destroy()
    }
  }
}

const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(FRAME))
