/**
 * One generation request from tenant to answer: its choices run side by side, and what they give is written
 * as OpenAI's events or, when the tenant did not ask for a stream, as one response.
 */
import type { ServerResponse } from 'node:http'
import { errorBody, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { ChatRequest, CompletionRequest } from '../../core/protocol/inference-request.ts'
import {
  decodeTokenChunks,
  encodeTokenChunks,
  NO_TOKEN_ID,
  type TokenChunk,
} from '../../core/protocol/token-chunk.ts'
import { headersOf, onceGone, sendJsonSoon, sendRefusal } from '../../io/http/respond.ts'
import { billOf, billHeaders, type Bill } from './bill.ts'
import { Choice, type ChoiceOwner } from './choice.ts'
import type { Attempt } from './attempt.ts'
import type { Admitted } from './inference.ts'
import {
  ChoiceEvents,
  SSE_DONE,
  usageEvent,
  wholeResponse,
  type ResponseHead,
} from './render-generation.ts'
import { SLOW_READER_BYTES, SseStream } from './sse-stream.ts'

/** A tenant that takes nothing for so long has gone, whatever TCP says. */
const STUCK_READER_MS = 60_000

export class Exchange implements ChoiceOwner {
  readonly #admitted: Admitted
  readonly #request: ChatRequest | CompletionRequest
  readonly #response: ServerResponse
  readonly #sse: SseStream
  readonly #choices: Choice[] = []
  /** One renderer a choice, made when its first text comes. */
  readonly #events: ChoiceEvents[] = []
  #head: ResponseHead | null = null
  #finished = 0
  #over = false
  #firstTokenAt: Millis | null = null
  /** What waits for a slow tenant, in order. */
  readonly #later: (() => void)[] = []
  #stuck: NodeJS.Timeout | null = null

  constructor(admitted: Admitted, request: ChatRequest | CompletionRequest) {
    this.#admitted = admitted
    this.#request = request
    this.#response = admitted.response
    this.#sse = new SseStream(admitted.response)
  }

  start(): void {
    const { dispatcher, requestId, body, key, affinity, seed } = this.#admitted
    const count =
      this.#request.n * (this.#request.api === 'completion' ? this.#request.prompts.length : 1)
    for (let index = 0; index < count; index++) {
      this.#choices.push(
        new Choice(dispatcher, {
          request: this.#request,
          requestId,
          index,
          seed: (seed + index) >>> 0,
          body,
          key,
          affinity,
          owner: this,
        }),
      )
    }
    onceGone(this.#response, () => this.#gone())
    for (const choice of this.#choices) choice.start()
  }

  // What the choices report.

  chunks(choice: Choice, chunks: readonly TokenChunk[], bytes: number, attempt: Attempt): void {
    this.#firstToken()
    if (!this.#request.stream) attempt.grant(bytes)
    else if (this.#mayShow) this.#showAndGrant(choice, chunks, bytes, attempt)
    else {
      // Waits as it came over the link, within its credit: events would be twenty times as long.
      const waiting = encodeTokenChunks(chunks)
      this.#showLater(() => {
        const come = decodeTokenChunks(waiting)
        if (typeof come !== 'string') this.#showAndGrant(choice, come, bytes, attempt)
      })
    }
  }

  finished(choice: Choice): void {
    if (this.#over) return
    this.#firstToken()
    this.#finished += 1
    const last = this.#finished === this.#choices.length
    if (!this.#request.stream) {
      if (last) this.#answerWhole()
      return
    }
    if (this.#mayShow) this.#showEnd(choice, last)
    else this.#showLater(() => this.#showEnd(choice, last))
    choice.settle()
  }

  #showEnd(choice: Choice, last: boolean): void {
    // Structured output was held back until now.
    if (this.#request.sampling.format.type !== 'text') this.#showHeld(choice)
    const bill = last ? this.#bill() : null
    const extra = bill && !this.#request.includeUsage ? billJson(bill) : ''
    this.#sse.push(this.#eventsOf(choice).finish(choice.finish, extra))
    if (bill) this.#endStream(bill)
  }

  failed(_choice: Choice, refusal: Refusal): void {
    if (this.#over) return
    this.#over = true
    if (this.#sse.opened) {
      for (const choice of this.#choices) choice.cancel()
      for (const show of this.#later.splice(0)) show()
      this.#sse.push(this.#admitted.payment?.endStream(this.#bill().nanoUsd) ?? '')
      // OpenAI's SDKs raise the error object of an event; without [DONE] nobody takes the text for whole.
      this.#sse.push(`data: ${errorBody(refusal)}\n\n`)
      this.#sse.end()
    } else {
      for (const choice of this.#choices) choice.discard()
      const { headers, payment } = this.#admitted
      sendRefusal(this.#response, refusal, headersOf([...headers, ...(payment?.whole(null) ?? [])]))
    }
    this.#admitted.over({ refusal, bill: null, model: null, firstTokenAt: this.#firstTokenAt })
  }

  #firstToken(): void {
    this.#firstTokenAt ??= this.#admitted.dispatcher.now()
  }

  #show(choice: Choice, chunks: readonly TokenChunk[]): void {
    const events = this.#eventsOf(choice)
    // One event per token keeps ids and logprobs aligned; tokens whose text is held back have none of their own.
    const { tokenIds } = this.#admitted
    for (const { id, text, logprob } of chunks) {
      if (text !== '' || logprob !== '' || tokenIds)
        this.#sse.push(events.text(text, logprob, tokenIds ? knownIds([id]) : NO_IDS))
    }
  }

  #showHeld(choice: Choice): void {
    if (choice.answer.text === '') return
    this.#sse.push(
      this.#eventsOf(choice).text(
        choice.answer.text,
        choice.answer.logprobs.join(','),
        choice.answer.ids,
      ),
    )
  }

  /** The head goes out with the first text: until then an error can still be an HTTP status. */
  #eventsOf(choice: Choice): ChoiceEvents {
    const known = this.#events[choice.index]
    if (known) return known
    if (!this.#sse.opened) {
      const { headers, payment } = this.#admitted
      const paid = payment?.beginStream() ?? []
      this.#sse.open([...headers, ...paid, 'x-baseload-node', choice.replica?.node ?? ''])
    }
    const made = new ChoiceEvents(this.#headOf(), choice.index)
    this.#events[choice.index] = made
    this.#sse.push(made.begin())
    return made
  }

  #headOf(): ResponseHead {
    const replica = this.#choices[0]?.replica
    this.#head ??= {
      api: this.#request.api,
      id: `${this.#request.api === 'chat' ? 'chatcmpl' : 'cmpl'}-${this.#admitted.requestId.slice(4)}`,
      createdS: Math.floor(this.#admitted.startedAt / 1000),
      model: replica?.model ?? this.#request.model,
      fingerprint: `fp_${(replica?.digest ?? '').slice(-12).replaceAll(/[^\w.-]/g, '_')}`,
      tokenIds: this.#admitted.tokenIds,
    }
    return this.#head
  }

  #endStream(bill: Bill): void {
    this.#over = true
    if (this.#request.includeUsage)
      this.#sse.push(usageEvent(this.#headOf(), bill.usage, billJson(bill)))
    const { payment } = this.#admitted
    if (payment === null) this.#endSse()
    else {
      this.#sse.push(payment.endStream(bill.nanoUsd))
      void payment.durable.then(() => this.#endSse())
    }
    this.#close(bill)
  }

  #endSse(): void {
    this.#sse.push(SSE_DONE)
    this.#sse.end()
  }

  #answerWhole(): void {
    this.#over = true
    const bill = this.#bill()
    const choices = this.#choices.map((choice) => ({
      index: choice.index,
      text: choice.answer.text,
      finish: choice.finish,
      logprobs: this.#request.sampling.topLogprobs === null ? null : choice.answer.logprobs,
      tokenIds: choice.answer.ids,
    }))
    const body = wholeResponse(this.#headOf(), choices, bill.usage, billJson(bill))
    const { headers, payment } = this.#admitted
    const all = [...headers, ...billHeaders(bill), ...(payment?.whole(bill.nanoUsd) ?? [])]
    if (payment === null) sendJsonSoon(this.#response, body, all)
    else void payment.durable.then(() => sendJsonSoon(this.#response, body, all))
    for (const choice of this.#choices) choice.settle()
    this.#close(bill)
  }

  #bill(): Bill {
    return billOf(this.#choices, this.#request.n, this.#admitted.listPrices)
  }

  #close(bill: Bill): void {
    this.#admitted.over({
      refusal: null,
      bill,
      model: this.#headOf().model,
      firstTokenAt: this.#firstTokenAt,
    })
  }

  /** The tenant's connection closed: after the answer that is as it should be, before it the work stops. */
  #gone(): void {
    if (this.#stuck) clearTimeout(this.#stuck)
    this.#later.length = 0
    if (this.#over) return
    this.#over = true
    for (const choice of this.#choices) choice.cancel()
    const bill = this.#bill()
    this.#admitted.payment?.unheard(bill.nanoUsd)
    this.#admitted.over({
      refusal: null,
      bill,
      model: this.#headOf().model,
      firstTokenAt: this.#firstTokenAt,
      gone: true,
    })
  }

  get #mayShow(): boolean {
    return this.#later.length === 0 && this.#tenantReads
  }

  get #tenantReads(): boolean {
    return !this.#sse.opened || this.#sse.unreadBytes < SLOW_READER_BYTES
  }

  /** Credit goes back as the tenant reads; a slow one stalls its own attempt and nobody else's. */
  #showAndGrant(
    choice: Choice,
    chunks: readonly TokenChunk[],
    bytes: number,
    attempt: Attempt,
  ): void {
    this.#show(choice, chunks)
    attempt.grant(bytes)
  }

  #showLater(show: () => void): void {
    if (this.#later.push(show) > 1) return
    this.#watchReader()
    this.#sse.onceRead(() => this.#catchUp())
  }

  #catchUp(): void {
    while (this.#later.length > 0 && this.#tenantReads) this.#later.shift()?.()
    if (this.#later.length > 0) this.#sse.onceRead(() => this.#catchUp())
    else if (this.#stuck) clearTimeout(this.#stuck)
  }

  /** A slow tenant may be as slow as it likes, as long as it reads. */
  #watchReader(): void {
    const before = this.#sse.takenBytes
    this.#stuck = setTimeout(() => {
      if (this.#sse.takenBytes > before) this.#watchReader()
      else this.#response.destroy()
    }, STUCK_READER_MS)
  }
}

const NO_IDS: readonly number[] = []
const knownIds = (ids: readonly number[]): number[] => ids.filter((id) => id !== NO_TOKEN_ID)

const billJson = (bill: Bill): string => `,"baseload":${bill.json}`
