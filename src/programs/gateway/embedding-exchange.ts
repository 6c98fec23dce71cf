/** One embeddings request: a single choice whose vectors come back in the order of its inputs. */
import type { Refusal } from '../../core/base/refusal.ts'
import type { EmbeddingRequest } from '../../core/protocol/inference-request.ts'
import { headersOf, onceGone, sendJsonSoon, sendRefusal } from '../../io/http/respond.ts'
import { billHeaders, billOf } from './bill.ts'
import { Choice, type ChoiceOwner } from './choice.ts'
import type { Admitted } from './inference.ts'

export class EmbeddingExchange implements ChoiceOwner {
  readonly #admitted: Admitted
  readonly #request: EmbeddingRequest
  readonly #choice: Choice
  #over = false

  constructor(admitted: Admitted, request: EmbeddingRequest) {
    this.#admitted = admitted
    this.#request = request
    const { dispatcher, requestId, body, key, affinity, seed } = admitted
    this.#choice = new Choice(dispatcher, {
      request,
      requestId,
      index: 0,
      seed,
      body,
      key,
      affinity,
      owner: this,
    })
  }

  start(): void {
    onceGone(this.#admitted.response, () => this.#gone())
    this.#choice.start()
  }

  /** Embeddings come as vectors; a node that sends text instead is only ignored. */
  chunks(): void {}

  finished(choice: Choice): void {
    if (this.#over) return
    this.#over = true
    const model = choice.replica?.model ?? this.#request.model
    const bill = billOf([choice], 1, this.#admitted.listPrices)
    const data = choice.answer.vectors.map(
      (vector, index) =>
        `{"object":"embedding","index":${index},"embedding":${this.#render(vector)}}`,
    )
    const usage = `{"prompt_tokens":${choice.inputTokens},"total_tokens":${choice.inputTokens}}`
    const body = `{"object":"list","data":[${data.join(',')}],"model":${JSON.stringify(model)},"usage":${usage},"baseload":${bill.json}}`
    const { headers, payment, response } = this.#admitted
    const all = [...headers, ...billHeaders(bill), ...(payment?.whole(bill.nanoUsd) ?? [])]
    if (payment === null) sendJsonSoon(response, body, all)
    else void payment.durable.then(() => sendJsonSoon(response, body, all))
    choice.settle()
    this.#admitted.over({ refusal: null, bill, model, firstTokenAt: null })
  }

  failed(choice: Choice, refusal: Refusal): void {
    if (this.#over) return
    this.#over = true
    choice.discard()
    const { headers, payment, response } = this.#admitted
    sendRefusal(response, refusal, headersOf([...headers, ...(payment?.whole(null) ?? [])]))
    this.#admitted.over({ refusal, bill: null, model: null, firstTokenAt: null })
  }

  #render(vector: Float32Array): string {
    if (this.#request.encoding === 'float') return `[${vector.join(',')}]`
    return JSON.stringify(
      Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64'),
    )
  }

  #gone(): void {
    if (this.#over) return
    this.#over = true
    this.#choice.cancel()
    const bill = billOf([this.#choice], 1, this.#admitted.listPrices)
    this.#admitted.payment?.unheard(bill.nanoUsd)
    this.#admitted.over({
      refusal: null,
      bill,
      model: this.#choice.replica?.model ?? null,
      firstTokenAt: null,
      gone: true,
    })
  }
}
