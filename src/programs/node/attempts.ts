/**
 * One attempt on this node: read what the tenant asked, ask the engine, stream its answer back as it comes,
 * say how it ended, and write the receipt.
 */
import { isRefusal, Fault, reasonOf, refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { TokenPrice } from '../../core/base/money.ts'
import {
  readInferenceRequest,
  type EmbeddingRequest,
  type InferenceRequest,
} from '../../core/protocol/inference-request.ts'
import type { AttemptError } from '../../core/protocol/link.ts'
import type { Receipt } from '../../core/protocol/receipt.ts'
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import { EngineRefusal } from '../../io/engine/engine-refusal.ts'
import type { Engine, EngineModel, GenerationTask } from '../../io/engine/engine.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import { hashTokenIds } from '../../io/keys/verify-receipt.ts'
import type { IncomingAttempt } from '../../io/link/incoming-attempt.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { ReceiptDraft } from './receipt-book.ts'

export type AttemptParts = {
  readonly engine: Engine
  /** What this node asks for the model now; null: it does not sell it. */
  readonly priceOf: (model: string) => TokenPrice | null
  readonly write: (draft: ReceiptDraft, price: TokenPrice) => unknown
  /** Aborted with the attempt's own signal, and when the node has to leave before the answer is whole. */
  readonly signal: AbortSignal
  readonly now: () => Millis
  readonly logger: Logger
}

/** Runs it to its end, whatever that is. Never rejects. */
export async function runAttempt(attempt: IncomingAttempt, parts: AttemptParts): Promise<void> {
  const { header } = attempt
  const sold = parts.engine.models().find((one) => one.model === header.model)
  const price = parts.priceOf(header.model)
  if (!sold || !price) {
    attempt.error({ ...said(notServed(header.model)), retryable: true })
    return
  }
  const request = readBody(attempt)
  if (isRefusal(request)) {
    attempt.error(said(request))
    return
  }
  const run = new AttemptRun(attempt, parts, sold, price)
  try {
    if (request.api === 'embedding') await run.embed(request)
    else await run.generate(request)
  } catch (error) {
    // Only our own mistakes get here: the engine's are answered where it is asked.
    parts.logger.error('attempt broke', { attempt: header.attempt, error })
    attempt.error(broken(error))
  }
}

const notServed = (model: string): Refusal =>
  refuse('model_not_found', `This node does not serve '${model}'.`, { param: 'model' })

/** The body as the gateway read it, with the same reader: what is wrong here was wrong there too. */
function readBody({ header, body }: IncomingAttempt): InferenceRequest | Refusal {
  let json: unknown
  try {
    json = JSON.parse(utf8.decode(body))
  } catch (error) {
    return refuse('invalid_json', `The request body is not JSON in UTF-8: ${reasonOf(error)}.`)
  }
  return readInferenceRequest(header.api, json)
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

class AttemptRun {
  readonly #attempt: IncomingAttempt
  readonly #parts: AttemptParts
  readonly #sold: EngineModel
  readonly #price: TokenPrice
  readonly #startedAtMs: Millis
  /** What was handed to the link: this much, and no more, is on the receipt. */
  readonly #ids: number[] = []
  readonly #texts: string[] = []

  constructor(attempt: IncomingAttempt, parts: AttemptParts, sold: EngineModel, price: TokenPrice) {
    this.#attempt = attempt
    this.#parts = parts
    this.#sold = sold
    this.#price = price
    this.#startedAtMs = parts.now()
  }

  async generate(request: Exclude<InferenceRequest, EmbeddingRequest>): Promise<void> {
    const task = taskOf(request, this.#attempt)
    if (isRefusal(task)) {
      this.#attempt.error(said(task))
      return
    }
    const { engine, signal } = this.#parts
    const stream = engine.generate(task, signal)
    let step
    try {
      // The first tokens, or the end, accept the attempt on the link: then the engine has a slot for it and it fits the context.
      for (step = await stream.next(); !step.done; step = await stream.next())
        await this.#hand(step.value)
    } catch (thrown) {
      this.#interrupted(thrown)
      return
    }
    const { finish, inputTokens } = step.value
    // Handing over, an answer that became whole all the same is simply whole.
    if (finish === 'cancelled' && this.#leaving) this.#handOver(inputTokens)
    else this.#end(finish, inputTokens)
  }

  async embed(request: EmbeddingRequest): Promise<void> {
    const { engine, signal } = this.#parts
    const { model } = this.#attempt.header
    let result
    try {
      result = await engine.embed({ model, input: request.input }, signal)
    } catch (thrown) {
      this.#interrupted(thrown)
      return
    }
    const { vectors, inputTokens } = result
    for (const [index, vector] of vectors.entries()) {
      if (signal.aborted) break
      await this.#attempt.vector(index, vector)
    }
    if (this.#leaving) this.#handOver(inputTokens)
    else if (signal.aborted) this.#end('cancelled', inputTokens)
    else this.#end('stop', inputTokens, sha256Hex(Buffer.concat(vectors.map(littleEndian))))
  }

  /** The node wants to go; the gateway did not ask for it. */
  get #leaving(): boolean {
    return this.#parts.signal.aborted && !this.#attempt.signal.aborted
  }

  async #hand(chunks: readonly TokenChunk[]): Promise<void> {
    // After a cancel, and on a lost link, the gateway counts no more.
    if (this.#parts.signal.aborted) return
    for (const { id, text } of chunks) {
      this.#ids.push(id)
      this.#texts.push(text)
    }
    const room = this.#attempt.tokens(chunks)
    if (room) await room
  }

  /** The engine threw: it was told to stop, it refuses, it is full, or it broke. */
  #interrupted(thrown: unknown): void {
    const { attempt, request } = this.#attempt.header
    if (this.#leaving) this.#handOver(0)
    else if (this.#parts.signal.aborted) this.#end('cancelled', 0)
    else if (thrown instanceof EngineRefusal) this.#attempt.error(said(thrown.refusal))
    else if (thrown instanceof Fault && thrown.code === 'busy') this.#attempt.busy(broken(thrown))
    else {
      this.#parts.logger.error('engine failed', { attempt, request, error: thrown })
      this.#attempt.error(broken(thrown))
      this.#receipt('failed', 0)
    }
  }

  #end(finish: 'stop' | 'length' | 'cancelled', inputTokens: number, vectors?: string): void {
    this.#attempt.end({ finish, inputTokens, outputTokens: this.#ids.length })
    this.#receipt(finish, inputTokens, vectors)
  }

  #handOver(inputTokens: number): void {
    this.#attempt.error({
      code: 'node_draining',
      message: 'The node leaves; another one can go on from here.',
      param: null,
      retryable: true,
    })
    this.#receipt('cancelled', inputTokens)
  }

  #receipt(finish: Receipt['finish'], inputTokens: number, vectors?: string): void {
    const outputTokens = this.#ids.length
    if (outputTokens === 0 && (finish === 'cancelled' || finish === 'failed')) return
    const { header, body } = this.#attempt
    const draft: ReceiptDraft = {
      attempt: header.attempt,
      request: header.request,
      api: header.api,
      model: header.model,
      modelDigest: this.#sold.digest,
      engine: this.#sold.engine,
      requestHash: sha256Hex(body),
      outputHash: vectors ?? hashTokenIds(this.#ids),
      textHash: sha256Hex(this.#texts.join('')),
      choice: header.choice,
      seed: header.api === 'embedding' ? null : header.seed,
      firstToken: header.resume?.tokenIds.length ?? 0,
      inputTokens,
      billedInputTokens: header.billInput ? inputTokens : 0,
      outputTokens,
      finish,
      startedAtMs: this.#startedAtMs,
      // A clock set back meanwhile must not make a receipt that ends before it begins.
      finishedAtMs: Math.max(this.#startedAtMs, this.#parts.now()),
    }
    this.#parts.write(draft, this.#price)
  }
}

/** What the engine is asked: the tenant's request with the gateway's choices in it. */
function taskOf(
  request: Exclude<InferenceRequest, EmbeddingRequest>,
  { header }: IncomingAttempt,
): GenerationTask | Refusal {
  const input = inputOf(request, header.choice)
  if (isRefusal(input)) return input
  const { temperature, topP, stop, topLogprobs, format } = request.sampling
  const { model, maxTokens, seed, resume } = header
  return { model, input, maxTokens, temperature, topP, seed, stop, topLogprobs, format, resume }
}

function inputOf(
  request: Exclude<InferenceRequest, EmbeddingRequest>,
  choice: number,
): GenerationTask['input'] | Refusal {
  if (request.api === 'chat') return { kind: 'chat', messages: request.messages }
  const prompt = request.prompts[Math.floor(choice / request.n)]
  if (prompt !== undefined) return { kind: 'completion', prompt }
  return refuse(
    'invalid_value',
    `Choice ${choice} does not exist: ${request.prompts.length} prompts with n ${request.n}.`,
    { param: 'n' },
  )
}

/** As in a VECTOR frame. */
function littleEndian(vector: Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(4 * vector.length)
  for (let i = 0; i < vector.length; i++) bytes.writeFloatLE(vector[i] ?? 0, 4 * i)
  return bytes
}

/** The request is at fault: no other node can do better. */
const said = ({ code, message, param }: Refusal): AttemptError => ({
  code,
  message,
  param,
  retryable: false,
})

/** This node is at fault: another may well succeed. */
const broken = (thrown: unknown): AttemptError => ({
  code: thrown instanceof Fault ? thrown.code : 'engine_failed',
  message: reasonOf(thrown),
  param: null,
  retryable: true,
})
