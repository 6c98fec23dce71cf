/**
 * What one model at an upstream can really do: each ability is tried with a few tokens and looked at, because
 * servers ignore what they do not know. What fails is simply not offered, with the reason in the log.
 */
import { reasonOf } from '../../../core/base/refusal.ts'
import { isRecord } from '../../../core/protocol/read-fields.ts'
import type { Capability } from '../../../core/protocol/offer.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { AnswerChunk } from './answer-chunk.ts'
import { streamAnswer, UpstreamSaidNo, type Ask } from './answer-stream.ts'
import type { ContinuesBy, Found, TokenIdsBy } from './ask.ts'
import { readEmbeddings } from './embeddings.ts'
import type { SoftwareName } from './software.ts'
import { upstreamError } from './upstream-error.ts'
import { within, type Upstream } from './upstream.ts'

export type ProbeOptions = {
  readonly upstream: Upstream
  readonly model: string
  readonly software: SoftwareName
  readonly logger: Logger
  readonly signal: AbortSignal
  /** The first try may have to load the model from disk. */
  readonly loadMs: number
  readonly tryMs: number
}

/** Never throws but for the signal: a model that can do nothing has no capabilities. */
export async function probeModel(options: ProbeOptions): Promise<Found> {
  const tries = new Tries(options)
  const chat = await tries.attempt('chat', () => tries.answer('chat', {}, options.loadMs))
  const completion = await tries.attempt('completion', () =>
    tries.answer('completion', {}, chat ? options.tryMs : options.loadMs),
  )
  if (!chat && !completion) {
    await tries.attempt('embedding', () => tries.embedding(options.loadMs))
    return tries.found({ chat: null, completion: null, continuesBy: null })
  }
  const kinds: Kind[] = [
    ...(chat ? (['chat'] as const) : []),
    ...(completion ? (['completion'] as const) : []),
  ]
  const kind = kinds[0] ?? 'chat'
  const greedy = chat ?? completion ?? NOTHING_SAID
  const ids = await tries.attempt('token_ids', () => tries.tokenIds(kinds))
  await tries.attempt('logprobs', () => tries.logprobs(kinds))
  await tries.attempt('seed', () => tries.seed(kind))
  await tries.attempt('stop', () => tries.stop(kind, greedy.text))
  if (chat) {
    await tries.attempt('json_schema', () => tries.jsonSchema())
    await tries.attempt('json_object', () => tries.jsonObject())
  }
  const continuesBy = await tries.attempt('resume_text', () => tries.continuing(kind, greedy))
  await tries.attempt('embedding', () => tries.embedding(options.tryMs))
  return tries.found({
    chat: ids?.chat ?? null,
    completion: ids?.completion ?? null,
    continuesBy: continuesBy === 'plain' ? null : continuesBy,
  })
}

type Kind = 'chat' | 'completion'
type Said = {
  readonly text: string
  readonly pieces: readonly string[]
  readonly chunks: readonly AnswerChunk[]
}

const NOTHING_SAID: Said = { text: '', pieces: [], chunks: [] }
const TRY_TOKENS = 16
/** Room for the smallest JSON, with the white space that grammars allow. */
const JSON_TOKENS = 64
const QUESTION = 'Describe a quiet harbour in the early morning.'

/** Thrown by a try whose answer shows that the ability is not there. */
class NotShown extends Error {}

class Tries {
  readonly #options: ProbeOptions
  readonly #capabilities: Capability[] = []

  constructor(options: ProbeOptions) {
    this.#options = options
  }

  found(by: {
    chat: TokenIdsBy | null
    completion: TokenIdsBy | null
    continuesBy: ContinuesBy | null
  }): Found {
    return {
      capabilities: this.#capabilities,
      chatTokenIds: by.chat,
      completionTokenIds: by.completion,
      continuesBy: by.continuesBy,
    }
  }

  /** The capability is there when `look` returns; its result is what it found. */
  async attempt<T>(capability: Capability, look: () => Promise<T>): Promise<T | null> {
    const { model, logger, signal } = this.#options
    try {
      const result = await look()
      this.#capabilities.push(capability)
      logger.info('capability found', { model, capability })
      return result
    } catch (error) {
      signal.throwIfAborted()
      const said = error instanceof UpstreamSaidNo ? upstreamError(error.status, error.body) : error
      logger.info('capability not offered', { model, capability, reason: reasonOf(said) })
      return null
    }
  }

  /** One short greedy answer; `more` overrides any part of the request. */
  async answer(
    kind: Kind,
    more: Readonly<Record<string, unknown>>,
    timeMs = this.#options.tryMs,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Said> {
    const { upstream, model, signal } = this.#options
    const input =
      kind === 'chat' ? { messages: [{ role: 'user', content: QUESTION }] } : { prompt: QUESTION }
    const limits = { stream: true, max_tokens: TRY_TOKENS, temperature: 0 }
    const ask: Ask = {
      path: kind === 'chat' ? '/chat/completions' : '/completions',
      body: { model, ...input, ...limits, stream_options: { include_usage: true }, ...more },
      headers,
    }
    const chunks: AnswerChunk[] = []
    const patience = { firstByteMs: timeMs, stallMs: timeMs }
    await within(timeMs, signal, async (bounded) => {
      for await (const some of streamAnswer(upstream, ask, patience, bounded)) chunks.push(...some)
    })
    if (!chunks.some((chunk) => chunk.progress)) throw new NotShown('the answer was empty')
    const pieces = chunks.map((chunk) => chunk.text)
    return { text: pieces.join(''), pieces, chunks }
  }

  async tokenIds(kinds: readonly Kind[]): Promise<Record<Kind, TokenIdsBy | null>> {
    const by: TokenIdsBy = this.#options.software === 'baseload' ? 'header' : 'parameter'
    const result: Record<Kind, TokenIdsBy | null> = { chat: null, completion: null }
    for (const kind of kinds) {
      const { chunks } =
        by === 'header'
          ? await this.answer(kind, {}, this.#options.tryMs, { 'x-baseload-token-ids': '1' })
          : await this.answer(kind, { return_token_ids: true })
      const ids = chunks.reduce((sum, chunk) => sum + (chunk.ids?.length ?? 0), 0)
      const counted = chunks.findLast((chunk) => chunk.usage !== null)?.usage?.outputTokens
      if (chunks.some((chunk) => chunk.text !== '' && chunk.ids === null))
        throw new NotShown(`${kind} gives text without ids`)
      if (counted != null && counted !== ids)
        throw new NotShown(`${kind} counts ${counted} tokens and gives ${ids} ids`)
      result[kind] = by
    }
    return result
  }

  async logprobs(kinds: readonly Kind[]): Promise<void> {
    for (const kind of kinds) {
      const asked = kind === 'chat' ? { logprobs: true, top_logprobs: 2 } : { logprobs: 2 }
      const { chunks } = await this.answer(kind, asked)
      const entries = chunks.flatMap((chunk) => chunk.logprobs)
      const whole = entries.every(
        (entry) =>
          typeof entry['logprob'] === 'number' &&
          Array.isArray(entry['top_logprobs']) &&
          entry['top_logprobs'].length > 0,
      )
      if (entries.length === 0 || !whole) throw new NotShown(`${kind} gives no logprobs`)
    }
  }

  /** The same seed says the same twice, and another one something else: else nothing depends on it. */
  async seed(kind: Kind): Promise<void> {
    const draw = async (seed: number) => (await this.answer(kind, { temperature: 1.2, seed })).text
    const [first, again] = [await draw(11), await draw(11)]
    if (first !== again) throw new NotShown('the same seed gave two texts')
    for (const other of [12, 13]) if ((await draw(other)) !== first) return
    throw new NotShown('every seed gave the same text')
  }

  async stop(kind: Kind, text: string): Promise<void> {
    const middle = Math.floor(text.length / 2)
    const stop = text.slice(middle, middle + 4)
    if (stop.trim() === '') throw new NotShown('the answer is too short to stop in')
    const said = await this.answer(kind, { stop: [stop] })
    if (said.text !== text.slice(0, text.indexOf(stop)))
      throw new NotShown('it does not stop right before a stop sequence')
  }

  /** The question asks for prose, so only a grammar gives exactly this object. */
  async jsonSchema(): Promise<void> {
    const schema = {
      type: 'object',
      properties: { calm: { type: 'boolean' } },
      required: ['calm'],
      additionalProperties: false,
    }
    const json_schema = { name: 'answer', strict: true, schema }
    const { text } = await this.answer('chat', {
      max_tokens: JSON_TOKENS,
      response_format: { type: 'json_schema', json_schema },
    })
    const value: unknown = JSON.parse(text)
    if (!isRecord(value) || typeof value['calm'] !== 'boolean' || Object.keys(value).length !== 1)
      throw new NotShown('the answer is not of the schema')
  }

  /** A free object may be longer than the try: its beginning is enough. */
  async jsonObject(): Promise<void> {
    const content = `${QUESTION} Use any words, JSON or not.`
    const { text, chunks } = await this.answer('chat', {
      messages: [{ role: 'user', content }],
      max_tokens: JSON_TOKENS,
      response_format: { type: 'json_object' },
    })
    const cutShort = chunks.some((chunk) => chunk.finish === 'length')
    if (cutShort ? !text.trimStart().startsWith('{') : !isRecord(JSON.parse(text)))
      throw new NotShown('the answer is not a JSON object')
  }

  /**
   * Gives back the first half of the greedy answer and expects exactly the other half. A raw completion
   * needs no help for that; a chat does.
   */
  async continuing(kind: Kind, greedy: Said): Promise<ContinuesBy | 'plain'> {
    const half = greedy.pieces.slice(0, Math.ceil(greedy.pieces.length / 2)).join('')
    const rest = greedy.text.slice(half.length)
    if (half === '' || rest === '' || greedy.text.startsWith(rest))
      throw new NotShown('the answer is too short to tell a continuation from a new start')
    if (kind === 'completion') {
      await this.#continues(kind, { prompt: QUESTION + half }, rest)
      return 'plain'
    }
    const messages = [
      { role: 'user', content: QUESTION },
      { role: 'assistant', content: half },
    ]
    const flags = { continue_final_message: true, add_generation_prompt: false }
    try {
      await this.#continues(kind, { messages, ...flags }, rest)
      return 'flag'
    } catch {
      this.#options.signal.throwIfAborted()
      await this.#continues(kind, { messages }, rest)
      return 'prefill'
    }
  }

  async #continues(kind: Kind, request: Readonly<Record<string, unknown>>, rest: string) {
    const { text } = await this.answer(kind, request)
    if (!text.startsWith(rest)) throw new NotShown('it does not go on where the text ended')
  }

  async embedding(timeMs: number): Promise<void> {
    const { upstream, model, signal } = this.#options
    const body = { model, input: [QUESTION], encoding_format: 'float' }
    const answer = await within(timeMs, signal, (bounded) =>
      upstream.json('/embeddings', { body, signal: bounded }),
    )
    if (answer.status !== 200) throw new UpstreamSaidNo(answer.status, answer.body)
    readEmbeddings(answer.body, 1)
  }
}
