/**
 * One attempt of one choice on one node: opens the stream, counts what comes, and knows what is to be paid.
 * It decides nothing about other nodes; its owner does.
 */
import type { TokenPrice } from '../../core/base/money.ts'
import { REFUSALS, refuse, type Refusal, type RefusalCode } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import type { AttemptEnd, AttemptError, AttemptHeader } from '../../core/protocol/link.ts'
import { receiptIdOf } from '../../core/protocol/receipt.ts'
import { joinedText, type TokenChunk } from '../../core/protocol/token-chunk.ts'
import {
  recordBusy,
  recordDispatch,
  recordEnd,
  recordFailure,
  recordFirstToken,
  recordSuccess,
  recordTokens,
  type Replica,
} from '../../core/routing/replica.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import type { AttemptHandler, AttemptStream, NodeLink } from '../../io/link/node-link.ts'
import { GrowingText } from './growing-text.ts'
import type { KeyEntry } from './keyring.ts'
import type { Reservation } from './meter.ts'
import { readEnd, readError, readTokens, type Asked } from './node-word.ts'
import type { DoneAttempt } from './receipt-desk.ts'

/** What the owner of an attempt hears. After `ended` or `broke` nothing more comes. */
export type AttemptOwner = {
  /** `bytes`: credit to give back once the tenant has taken them. */
  chunks(attempt: Attempt, chunks: readonly TokenChunk[], bytes: number): void
  vector(attempt: Attempt, index: number, vector: Float32Array): void
  ended(attempt: Attempt, end: AttemptEnd): void
  broke(attempt: Attempt, failure: AttemptFailure): void
}

export type AttemptFailure =
  | { readonly kind: 'busy' | 'lost'; readonly reason: string }
  /** The engine reported it; not retryable means that the request itself is at fault. */
  | { readonly kind: 'error'; readonly error: AttemptError; readonly reason: string }

export type AttemptState = 'sent' | 'accepted' | 'over'

export class Attempt implements AttemptHandler {
  readonly id: string
  readonly replica: Replica
  readonly link: NodeLink
  readonly header: AttemptHeader
  /** Tokens that the fair queue has charged the tenant for already. */
  readonly charged: number
  readonly startedAt: Millis
  readonly ids: number[] = []
  state: AttemptState = 'sent'
  /** The node's own END, when it came. */
  result: AttemptEnd | null = null
  /** Why it broke, for the tenant's list of attempts. */
  failure: AttemptFailure | null = null
  firstTokenAt: Millis | null = null
  /** When the node last did something for this attempt. */
  lastProgressAt: Millis
  finishedAt: Millis
  /** Nothing of it reached the tenant: it is neither charged nor paid. */
  forgiven = false
  /** It was handed to the receipt desk, to be paid. */
  settled = false
  /** A ping that asks whether the node still lives is under way. */
  doubted = false
  /** The node said what no honest node says: it is not paid for this attempt. */
  fault: string | null = null
  /** When the node last answered such a ping. */
  vouchedAt: Millis | null = null
  /** Its place in the watch's list; -1 when it is not watched. */
  watchPlace = -1

  readonly #owner: AttemptOwner
  readonly #now: () => Millis
  readonly #reservation: Reservation
  readonly #key: KeyEntry
  readonly #body: Buffer
  readonly #asked: Asked
  readonly #text = new GrowingText()
  readonly #vectors: Float32Array[] = []
  /** Bytes received that the tenant has not taken yet. */
  #untakenBytes = 0
  #stream: AttemptStream | null = null

  constructor(input: {
    header: AttemptHeader
    asked: Asked
    body: Buffer
    replica: Replica
    link: NodeLink
    key: KeyEntry
    reservation: Reservation
    charged: number
    owner: AttemptOwner
    now: () => Millis
  }) {
    this.id = input.header.attempt
    this.header = input.header
    this.replica = input.replica
    this.link = input.link
    this.#key = input.key
    this.#reservation = input.reservation
    this.#owner = input.owner
    this.#now = input.now
    this.#body = input.body
    this.#asked = input.asked
    this.charged = input.charged
    this.startedAt = this.#now()
    this.lastProgressAt = this.startedAt
    this.finishedAt = this.startedAt
    recordDispatch(this.replica)
  }

  get over(): boolean {
    return this.state === 'over'
  }

  /** Its silence may be ours: the tenant is slow to take what came, so the node may be out of credit. */
  get awaitsTenant(): boolean {
    return this.#untakenBytes > 0
  }

  get receipt(): string {
    return receiptIdOf(this.id)
  }

  get price(): TokenPrice {
    return this.replica.price
  }

  /** Sends the request. Separate from the constructor so that the owner knows the attempt before it can fail. */
  open(): void {
    this.#stream = this.link.open(this.header, this.#body, this)
  }

  /** The tenant is gone or has enough: the node stops, and its END still tells what is owed. */
  cancel(): void {
    if (!this.over) this.#stream?.cancel()
  }

  /** Ends it from our side as if the link had broken: the node was silent for too long. */
  abandon(reason: string): void {
    if (this.over) return
    this.#stream?.forget()
    this.lost(reason)
  }

  /** Ends it and listens no more: another attempt has won, or the work no longer matters. */
  drop(): void {
    if (this.over) return
    this.#finish()
    this.#stream?.forget()
  }

  grant(bytes: number): void {
    this.#untakenBytes -= bytes
    if (!this.over) this.#stream?.grant(bytes)
  }

  /** Its END was no end of the answer: it counts as broken. */
  disown(reason: string): AttemptFailure {
    this.result = null
    this.failure = { kind: 'lost', reason }
    return this.failure
  }

  /** Gives the money back that was set aside: nothing of this attempt reached the tenant. */
  refund(): void {
    this.#reservation.close()
  }

  /** What is to be paid; `inputTokens` where this attempt's own END never told. */
  done(api: Api, request: string, inputTokens: number): DoneAttempt {
    const billed =
      this.header.billInput && (this.ids.length > 0 || this.result !== null) ? inputTokens : 0
    return {
      attempt: this.id,
      request,
      api,
      key: this.#key,
      reservation: this.#reservation,
      node: this.link.node,
      model: this.replica.model,
      digest: this.replica.digest,
      price: this.price,
      startedAt: this.startedAt,
      finishedAt: this.finishedAt,
      inputTokens,
      billedInputTokens: billed,
      outputTokens: this.ids.length,
      requestHash: sha256Hex(this.#body),
      outputHash: sha256Hex(
        api === 'embedding' ? bytesOfVectors(this.#vectors) : bytesOfIds(this.ids),
      ),
      textHash: sha256Hex(this.#text.toString()),
    }
  }

  // What the link reports.

  accepted(): void {
    if (this.over) return
    this.state = 'accepted'
    this.lastProgressAt = this.#now()
  }

  busy(error: AttemptError): void {
    if (this.over) return
    recordBusy(this.replica)
    this.#break({ kind: 'busy', reason: error.message })
  }

  tokens(payload: Uint8Array): void {
    if (this.over) return
    const given = { tokens: this.ids.length, characters: this.#text.length }
    const chunks = readTokens(payload, this.#asked, given)
    if (typeof chunks === 'string') {
      this.#garbage(chunks)
      return
    }
    // An empty frame is no sign of life.
    if (chunks.length === 0) return
    this.#untakenBytes += payload.length
    this.#clock(chunks.length)
    for (const { id } of chunks) this.ids.push(id)
    this.#text.add(joinedText(chunks))
    this.#owner.chunks(this, chunks, payload.length)
  }

  vector(index: number, vector: Float32Array): void {
    if (this.over) return
    const { vectors } = this.#asked
    if (index >= vectors || this.#vectors.length >= vectors) {
      this.#garbage(`more embeddings than the ${vectors} that were asked for`)
      return
    }
    this.#untakenBytes += vector.byteLength
    this.#clock(1)
    this.#vectors.push(vector)
    this.#owner.vector(this, index, vector)
  }

  end(said: AttemptEnd): void {
    if (this.over) return
    const end = readEnd(said, this.#asked)
    this.result = end
    recordSuccess(this.replica, this.startedAt)
    this.#finish()
    this.#owner.ended(this, end)
  }

  error(said: AttemptError): void {
    if (this.over) return
    const error = readError(said)
    if (error.retryable) recordFailure(this.replica, error.message, this.startedAt, this.#now())
    this.#break({ kind: 'error', error, reason: error.message })
  }

  lost(reason: string): void {
    if (this.over) return
    recordFailure(this.replica, reason, this.startedAt, this.#now())
    this.#break({ kind: 'lost', reason })
  }

  #garbage(reason: string): void {
    this.fault = reason
    this.abandon(reason)
  }

  #break(failure: AttemptFailure): void {
    this.failure = failure
    this.#finish()
    this.#owner.broke(this, failure)
  }

  #finish(): void {
    this.state = 'over'
    this.finishedAt = this.#now()
    recordEnd(this.replica, this.finishedAt)
  }

  #clock(tokens: number): void {
    const now = this.#now()
    if (this.firstTokenAt === null) {
      this.firstTokenAt = now
      recordFirstToken(this.replica, now - this.startedAt)
    } else {
      recordTokens(this.replica, tokens, now - this.lastProgressAt)
    }
    this.lastProgressAt = now
  }
}

function bytesOfIds(ids: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(ids.length * 4)
  for (let i = 0; i < ids.length; i++) bytes.writeUInt32BE(ids[i] ?? 0, i * 4)
  return bytes
}

function bytesOfVectors(vectors: readonly Float32Array[]): Buffer {
  return Buffer.concat(
    vectors.map(({ buffer, byteOffset, byteLength }) =>
      Buffer.from(buffer, byteOffset, byteLength),
    ),
  )
}

/** The node's words for a request that is itself at fault, as far as they are words we know. */
export function refusalOf({ error }: Extract<AttemptFailure, { kind: 'error' }>): Refusal {
  const code = isRefusalCode(error.code) ? error.code : 'node_failed'
  return refuse(code, error.message, error.param === null ? {} : { param: error.param })
}

const isRefusalCode = (code: string): code is RefusalCode => Object.hasOwn(REFUSALS, code)
