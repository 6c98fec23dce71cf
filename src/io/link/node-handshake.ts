/** The node's side of a handshake: CHALLENGE in, HELLO out, WELCOME in. */
import { FRAME } from '../../core/protocol/frame.ts'
import {
  challengeSchema,
  HELLO_DOMAIN,
  helloText,
  LINK_VERSIONS,
  welcomeSchema,
  type Challenge,
  type Hello,
  type Welcome,
} from '../../core/protocol/link.ts'
import type { SignedOffer } from '../../core/protocol/offer.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Identity } from '../keys/identity.ts'
import type { CloseReason, LinkCode } from './close-reason.ts'
import { readJson } from './json-payload.ts'
import type { LinkSocket, LinkSocketOwner } from './link-socket.ts'

export type NodeHandshakeEvents = {
  readonly identity: Identity
  offer(): SignedOffer
  now(): Millis
  welcomed(challenge: Challenge, welcome: Welcome): void
  closed(reason: CloseReason): void
}

export class NodeHandshake implements LinkSocketOwner {
  readonly #events: NodeHandshakeEvents
  #socket: LinkSocket | null = null
  #challenge: Challenge | null = null

  constructor(events: NodeHandshakeEvents) {
    this.#events = events
  }

  begin(socket: LinkSocket): void {
    this.#socket = socket
  }

  frame(type: number, stream: number, payload: Uint8Array): void {
    if (stream !== 0) return
    const problem =
      type === FRAME.CHALLENGE
        ? this.#answer(payload)
        : type === FRAME.WELCOME
          ? this.#enter(payload)
          : null
    if (problem !== null) this.#socket?.close(problem.code, problem.message)
  }

  refill(): boolean {
    return false
  }

  closed(reason: CloseReason): void {
    this.#events.closed(reason)
  }

  #answer(payload: Uint8Array): Problem | null {
    if (this.#challenge !== null) return malformed('a second CHALLENGE')
    const challenge = readJson(challengeSchema, payload)
    if (challenge instanceof Error) return malformed(`CHALLENGE: ${challenge.message}`)
    const version = LINK_VERSIONS.find((known) => challenge.versions.includes(known))
    if (version === undefined) {
      return {
        code: 'link_version_unsupported',
        message: `the gateway speaks link version ${challenge.versions.join(', ')}, this node ${LINK_VERSIONS.join(', ')}; update the older one`,
      }
    }
    this.#challenge = challenge
    const { identity } = this.#events
    const nowMs = this.#events.now()
    const hello: Hello = {
      version,
      node: identity.id,
      nodeKey: identity.publicKey,
      signature: identity.sign(HELLO_DOMAIN, helloText(challenge, version, nowMs)),
      nowMs,
      offer: this.#events.offer(),
    }
    this.#socket?.writeJson(FRAME.HELLO, 0, hello)
    return null
  }

  #enter(payload: Uint8Array): Problem | null {
    if (this.#challenge === null) return malformed('WELCOME before CHALLENGE')
    const welcome = readJson(welcomeSchema, payload)
    if (welcome instanceof Error) return malformed(`WELCOME: ${welcome.message}`)
    this.#events.welcomed(this.#challenge, welcome)
    return null
  }
}

type Problem = { readonly code: LinkCode; readonly message: string }

const malformed = (message: string): Problem => ({ code: 'link_malformed_frame', message })
