/**
 * The JSON that travels on the node link, in the order it is met. docs/protocol.md draws the exchange.
 * Everything a peer sends is parsed by these schemas before anyone looks at it.
 */
import { z } from 'zod'
import { freeRoomSchema } from './capacity.ts'
import { IMAGE_MARK, MAX_IMAGE_MARKS } from './image-mark.ts'
import { signedOfferSchema } from './offer.ts'
import { signedPayoutSchema } from './payout.ts'
import { isCount, isRecord } from './read-fields.ts'

/** Versions this software speaks, newest first. The node picks the highest that both know. */
export const LINK_VERSIONS = [1] as const
export const LINK_PATH = '/v1/nodes/link'
/** A node whose clock differs by more cannot link: its receipts' times would be worthless. */
export const MAX_CLOCK_SKEW_MS = 60_000
export const HEARTBEAT_MS = 2_000
/** From TCP accept to a valid HELLO. */
export const HANDSHAKE_TIMEOUT_MS = 10_000

const id = z.string().max(60)
const nonce = z.string().regex(/^[\w-]{43}$/) // 32 bytes, base64url

export const challengeSchema = z.object({
  versions: z.array(z.int()).max(16),
  gateway: id,
  gatewayKey: z.string().max(60),
  nonce,
  nowMs: z.int(),
})
export type Challenge = z.infer<typeof challengeSchema>

export const helloSchema = z.object({
  version: z.int(),
  node: id,
  nodeKey: z.string().max(60),
  /** The node's own, for the gateway to sign. */
  nonce,
  /** What the node dialled: host, and the port where it is not the scheme's own. */
  address: z.string().regex(/^\S{1,300}$/),
  /** base64url Ed25519 over `HELLO_DOMAIN` + helloText(challenge, hello). */
  signature: z.string().max(200),
  nowMs: z.int(),
  offer: signedOfferSchema,
  /** Where its earnings go on chain; left out by nodes that have no address, or are older than this field. */
  payout: signedPayoutSchema.exactOptional(),
})
export type Hello = z.infer<typeof helloSchema>

export const HELLO_DOMAIN = 'baseload hello v1\n'
/** What a node signs to prove its key to this gateway, this once, at this address. */
export const helloText = (
  { gateway, nonce: challenged }: Pick<Challenge, 'gateway' | 'nonce'>,
  hello: Pick<Hello, 'version' | 'nowMs' | 'nonce' | 'address'>,
): string =>
  [gateway, challenged, hello.version, hello.nowMs, hello.nonce, hello.address].join('\n')

export const welcomeSchema = z.object({
  link: id,
  version: z.int(),
  heartbeatMs: z.int().min(100).max(60_000),
  /** base64url Ed25519 over `WELCOME_DOMAIN` + welcomeText(challenge, hello, welcome). */
  signature: z.string().max(200),
})
export type Welcome = z.infer<typeof welcomeSchema>

export const WELCOME_DOMAIN = 'baseload welcome v1\n'
/** What a gateway signs to prove its key to this node, this once, as the one behind this address. */
export const welcomeText = (
  { gateway, nonce: challenged }: Pick<Challenge, 'gateway' | 'nonce'>,
  hello: Pick<Hello, 'node' | 'nonce' | 'address'>,
  welcome: Omit<Welcome, 'signature'>,
): string =>
  [
    gateway,
    challenged,
    hello.node,
    hello.nonce,
    hello.address,
    welcome.link,
    welcome.version,
    welcome.heartbeatMs,
  ].join('\n')

export const heartbeatSchema = z.object({
  /** Free slots and waiting attempts for each model, in the offer's order. */
  free: z.array(z.int().min(0)).max(64),
  queued: z.array(z.int().min(0)).max(64),
  /** What can be leased now, whole each time; left out by nodes that lease nothing, or are older than this field. */
  room: freeRoomSchema.exactOptional(),
  /** Marks of all images that are there; left out when they are as this link heard last. */
  images: z.array(z.string().regex(IMAGE_MARK)).max(MAX_IMAGE_MARKS).exactOptional(),
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/** Longest JSON of an `AttemptHeader`: a resume of a million token ids and their text fits. */
export const MAX_ATTEMPT_HEADER_BYTES = 16 * 1024 * 1024

/** What goes before the tenant's body in a REQUEST frame. */
export const attemptHeaderSchema = z.object({
  attempt: id,
  request: id,
  api: z.enum(['chat', 'completion', 'embedding']),
  /** The model to serve: the body may name others as well. */
  model: z.string().max(200),
  /** Length of the body in bytes, over this frame and the BODY frames after it. */
  bodyBytes: z.int().min(0),
  /** Which of `n` choices; for completions with several prompts: prompt = ⌊choice / n⌋. */
  choice: z.int().min(0).max(4096),
  seed: z.int().min(0).max(0xffff_ffff),
  /** Tokens this attempt may produce, already given ones not counted. */
  maxTokens: z.int().min(0),
  billInput: z.boolean(),
  /** What earlier attempts already gave the tenant: the engine goes on right after it. */
  resume: z
    .object({
      tokenIds: z.array(z.int().min(0)).max(1_000_000),
      text: z.string(),
    })
    .nullable(),
})
export type AttemptHeader = z.infer<typeof attemptHeaderSchema>

export const attemptEndSchema = z.object({
  finish: z.enum(['stop', 'length', 'cancelled']),
  inputTokens: z.int().min(0),
  /** Tokens of this attempt, including those whose text was held back or dropped by a stop sequence. */
  outputTokens: z.int().min(0),
})
export type AttemptEnd = z.infer<typeof attemptEndSchema>

/** What `attemptEndSchema` takes, told by hand: one comes with every request. */
export function isAttemptEnd(value: unknown): value is AttemptEnd {
  if (!isRecord(value)) return false
  const { finish, inputTokens, outputTokens } = value
  return (
    (finish === 'stop' || finish === 'length' || finish === 'cancelled') &&
    isCount(inputTokens) &&
    isCount(outputTokens)
  )
}

export const attemptErrorSchema = z.object({
  /** A RefusalCode when the request itself is at fault, else an engine's own code. */
  code: z.string().max(60),
  message: z.string().max(2000),
  param: z.string().max(200).nullable(),
  /** True when another node may well succeed. */
  retryable: z.boolean(),
})
export type AttemptError = z.infer<typeof attemptErrorSchema>

/** Why a link is closed, whole: a WebSocket close reason holds only 123 bytes. */
export const linkRefusalSchema = z.object({
  /** A RefusalCode of the link, `shutting_down`, or `link_closed`. */
  code: z.string().max(60),
  message: z.string().max(2000),
})
export type LinkRefusal = z.infer<typeof linkRefusalSchema>
