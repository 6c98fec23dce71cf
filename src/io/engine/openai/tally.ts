/** What one generation came to: tokens, input, finish. The upstream's word counts only where it can be true. */
import type { TokenChunk } from '../../../core/protocol/token-chunk.ts'
import type { GenerationEnd, GenerationTask } from '../engine.ts'
import { malformed, tokenChunks, type AnswerChunk } from './answer-chunk.ts'
import { leastInputTokens } from './ask.ts'

export class Tally {
  readonly #task: GenerationTask
  /** The upstream ignores `max_tokens`: cut it off where the tenant's own limit is. */
  overrun = false
  #sent = 0
  #allIds = true
  #finish: string | null = null
  #inputTokens: number | null = null
  #outputTokens: number | null = null

  constructor(task: GenerationTask) {
    this.#task = task
  }

  add(answers: readonly AnswerChunk[]): TokenChunk[] {
    for (const { usage, promptTokens, finish, progress, ids } of answers) {
      this.#inputTokens = usage?.inputTokens ?? promptTokens ?? this.#inputTokens
      this.#outputTokens = usage?.outputTokens ?? this.#outputTokens
      this.#finish ??= finish
      this.#allIds &&= !progress || (ids !== null && ids.length > 0)
    }
    const chunks = answers.flatMap(tokenChunks)
    const room = this.#task.maxTokens - this.#sent
    this.overrun = chunks.length > room
    this.#sent += Math.min(chunks.length, room)
    return chunks.slice(0, room)
  }

  end(forced?: 'cancelled'): GenerationEnd {
    if (forced === undefined && (this.#finish === 'abort' || this.#finish === 'error'))
      throw malformed(`it finished with '${this.#finish}'`)
    const resumed = this.#task.resume?.tokenIds.length ?? 0
    const finish = this.#finish === 'length' || this.overrun ? 'length' : 'stop'
    return {
      finish: forced ?? finish,
      inputTokens: Math.max(0, (this.#inputTokens ?? this.#least()) - resumed),
      outputTokens: this.#allIds ? this.#sent : this.#counted(),
    }
  }

  /** Nothing was read before the first token: a cancelled wait costs no input. */
  #least(): number {
    return this.#sent === 0 ? 0 : leastInputTokens(this.#task)
  }

  /** The upstream's own count where it can be true, else what was seen. */
  #counted(): number {
    const told = this.#outputTokens
    const sane = told !== null && told <= this.#task.maxTokens && (told > 0 || this.#sent === 0)
    return sane ? told : this.#sent
  }
}
