/**
 * The node's end of the link: dials one gateway, proves its key, takes attempts, and dials again for ever.
 * A node that serves several gateways makes one client for each.
 */
import type { Random } from '../../core/base/random.ts'
import type { Millis } from '../../core/base/time.ts'
import type {
  AttemptEnd,
  AttemptError,
  AttemptHeader,
  Heartbeat,
} from '../../core/protocol/link.ts'
import type { SignedOffer } from '../../core/protocol/offer.ts'
import type { ReceiptBatch } from '../../core/protocol/receipt.ts'
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { Identity } from '../keys/identity.ts'
import type { Logger } from '../telemetry/logger.ts'

/** One attempt as the node sees it. After `busy`, `end` or `error`, and after the link is lost, calls do nothing. */
export type IncomingAttempt = {
  readonly header: AttemptHeader
  /** The tenant's body, whole. */
  readonly body: Uint8Array
  /** Aborted by the gateway's CANCEL, and when the link is lost. */
  readonly signal: AbortSignal
  /** Whether the gateway cancelled: then an `end` or `error` is still due. */
  readonly cancelled: boolean
  /** Says that the attempt has a slot. The first `tokens`, `vector` or `end` says so too. */
  accept(): void
  /** No slot; nothing was done. Only before `accept`. */
  busy(error: AttemptError): void
  /** Sends chunks; wait for the promise, if one comes back, before producing more. */
  tokens(chunks: readonly TokenChunk[]): Promise<void> | void
  vector(index: number, vector: Float32Array): Promise<void> | void
  end(end: AttemptEnd): void
  error(error: AttemptError): void
}

export type LinkClientOptions = {
  /** The gateway: http, https, ws or wss; a path is kept as a prefix of LINK_PATH. */
  readonly url: string
  readonly identity: Identity
  /** A fresh signed offer, for each new link and each `sendOffer`. */
  readonly offer: () => SignedOffer
  readonly load: () => Heartbeat
  readonly onAttempt: (attempt: IncomingAttempt) => void
  readonly onReceiptsAcknowledged: (receipts: readonly string[]) => void
  readonly onLinked: (linked: { gateway: string; gatewayKey: string; link: string }) => void
  readonly onUnlinked: (reason: string, retryInMs: number) => void
  /** The gateway said no, and trying again soon cannot help: tell the provider. */
  readonly onRefused: (code: string, message: string) => void
  readonly now: () => Millis
  readonly random: Random
  readonly logger: Logger
}

export type LinkState = 'connecting' | 'linked' | 'waiting' | 'closed'

export type LinkClient = {
  readonly state: LinkState
  /** The gateway's id while linked. */
  readonly gateway: string | null
  /** False when there is no link, or it is congested: keep the batch and hand it in later. */
  sendReceipts(batch: ReceiptBatch): boolean
  /** The offer changed: tells the gateway now. */
  sendOffer(): void
  /** From now on, on this link and later ones: finish what runs, take nothing new. */
  drain(): void
  close(): Promise<void>
}

export function connectToGateway(_options: LinkClientOptions): LinkClient {
  throw new Error('being built')
}
