/**
 * The node's side of a handshake: CHALLENGE in, HELLO out, WELCOME in. Until the gateway has proven its key nothing leaves
 * but HELLO, and nothing that it says is obeyed.
 */
import { randomBytes } from 'node:crypto'
import { FRAME } from '../../core/protocol/frame.ts'
import {
  challengeSchema,
  HELLO_DOMAIN,
  helloText,
  LINK_VERSIONS,
  WELCOME_DOMAIN,
  welcomeSchema,
  welcomeText,
  type Challenge,
  type Hello,
  type Welcome,
} from '../../core/protocol/link.ts'
import type { SignedOffer } from '../../core/protocol/offer.ts'
import type { SignedPayout } from '../../core/protocol/payout.ts'
import type { Millis } from '../../core/base/time.ts'
import { idOfKey, verifySignature, type Identity } from '../keys/identity.ts'
import type { CloseReason, LinkCode } from './close-reason.ts'
import { readJson } from './json-payload.ts'
import type { LinkSocket, LinkSocketOwner } from './link-socket.ts'
import { addressOf } from './own-address.ts'

export type NodeHandshakeEvents = {
  /** What was dialled. */
  readonly url: string
  readonly identity: Identity
  offer(): SignedOffer
  payout(): SignedPayout | null
  now(): Millis
  /** The gateway is who it says, and answers this handshake. */
  welcomed(challenge: Challenge, welcome: Welcome): void
  closed(reason: CloseReason): void
}

export class NodeHandshake implements LinkSocketOwner {
  readonly #events: NodeHandshakeEvents
  #socket: LinkSocket | null = null
  #said: Said | null = null

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
    if (this.#said !== null) return malformed('a second CHALLENGE')
    const challenge = readJson(challengeSchema, payload)
    if (challenge instanceof Error) return malformed(`CHALLENGE: ${challenge.message}`)
    const version = LINK_VERSIONS.find((known) => challenge.versions.includes(known))
    if (version === undefined) {
      return {
        code: 'link_version_unsupported',
        message: `the gateway speaks link version ${challenge.versions.join(', ')}, this node ${LINK_VERSIONS.join(', ')}; update the older one`,
      }
    }
    const { identity, url } = this.#events
    const derived = idOfKey('gw', challenge.gatewayKey)
    if (derived !== challenge.gateway) {
      const problem = `calls itself ${challenge.gateway}, but its key belongs to ${derived}`
      return unproven(url, problem)
    }
    const nonce = randomBytes(32).toString('base64url')
    const greeting = { version, nowMs: this.#events.now(), nonce, address: addressOf(url) }
    const payout = this.#events.payout()
    const hello: Hello = {
      ...greeting,
      node: identity.id,
      nodeKey: identity.publicKey,
      signature: identity.sign(HELLO_DOMAIN, helloText(challenge, greeting)),
      offer: this.#events.offer(),
      ...(payout && { payout }),
    }
    this.#said = { challenge, hello }
    this.#socket?.writeJson(FRAME.HELLO, 0, hello)
    return null
  }

  #enter(payload: Uint8Array): Problem | null {
    if (this.#said === null) return malformed('WELCOME before CHALLENGE')
    const welcome = readJson(welcomeSchema, payload)
    if (welcome instanceof Error) return malformed(`WELCOME: ${welcome.message}`)
    const { challenge, hello } = this.#said
    const text = welcomeText(challenge, hello, welcome)
    if (!verifySignature(challenge.gatewayKey, WELCOME_DOMAIN, text, welcome.signature)) {
      const problem = `did not prove to be ${challenge.gateway}: its WELCOME is not signed by that key for this handshake`
      return unproven(this.#events.url, problem)
    }
    this.#events.welcomed(challenge, welcome)
    return null
  }
}

type Said = { readonly challenge: Challenge; readonly hello: Hello }

type Problem = { readonly code: LinkCode; readonly message: string }

const malformed = (message: string): Problem => ({ code: 'link_malformed_frame', message })

function unproven(url: string, problem: string): Problem {
  const { origin, pathname } = new URL(url) // no user, no password
  const next = 'ask its operator for the right address, or take it out of gateways'
  return { code: 'link_gateway_unproven', message: `${origin}${pathname} ${problem}; ${next}` }
}
