/**
 * One event of a streamed answer, read with suspicion: what came, as the engine wants it. Reads both
 * `chat.completion.chunk` and `text_completion`.
 */
import { Fault } from '../../../core/base/refusal.ts'
import { isRecord, type Fields } from '../../../core/protocol/read-fields.ts'
import {
  MAX_TOKEN_PART_BYTES,
  NO_TOKEN_ID,
  type TokenChunk,
} from '../../../core/protocol/token-chunk.ts'

export type Usage = { readonly inputTokens: number | null; readonly outputTokens: number | null }

export type AnswerChunk = {
  readonly text: string
  /** Null: the server gave none with this piece. */
  readonly ids: readonly number[] | null
  /** OpenAI's `content[]` entries. */
  readonly logprobs: readonly Fields[]
  /** Whether a token passed at all, also one whose text is hidden reasoning. */
  readonly progress: boolean
  readonly finish: string | null
  readonly usage: Usage | null
  readonly promptTokens: number | null
}

export function readAnswerChunk(body: unknown): AnswerChunk {
  if (!isRecord(body)) throw malformed('an event is not a JSON object')
  const choices = body['choices']
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined
  const usage = readUsage(body['usage'])
  const prompt = body['prompt_token_ids'] ?? (isRecord(choice) ? choice['prompt_token_ids'] : null)
  const promptTokens = Array.isArray(prompt) ? prompt.length : null
  if (!isRecord(choice)) return { ...NOTHING, usage, promptTokens }
  const delta = isRecord(choice['delta']) ? choice['delta'] : {}
  const text = textOf(delta['content']) || textOf(choice['text'])
  const hidden = textOf(delta['reasoning_content']) || textOf(delta['reasoning'])
  const ids = choice['token_ids']
  const isIds = Array.isArray(ids) && ids.every(isTokenId)
  return {
    text,
    ids: isIds ? ids : null,
    logprobs: readLogprobs(choice['logprobs']),
    progress: text !== '' || hidden !== '' || (isIds && ids.length > 0),
    finish: typeof choice['finish_reason'] === 'string' ? choice['finish_reason'] : null,
    usage,
    promptTokens,
  }
}

/**
 * Token chunks of one answer chunk. Several ids under one text: the earlier ones carry none, as tokens in
 * the middle of a character do. No ids: one chunk, or as many as logprob entries and the limit of a chunk's
 * text need.
 */
export function tokenChunks(answer: AnswerChunk): TokenChunk[] {
  if (!answer.progress) return []
  const texts = splitText(answer.text)
  const logprobs = answer.logprobs.map(logprobText)
  const unnamed = Array.from({ length: Math.max(texts.length, logprobs.length) }, () => NO_TOKEN_ID)
  const ids = answer.ids !== null && answer.ids.length > 0 ? answer.ids : unnamed
  const offset = ids.length - texts.length
  if (offset < 0) throw malformed(`${ids.length} tokens carry ${answer.text.length} characters`)
  return ids.map((id, index) => ({
    id,
    text: texts[index - offset] ?? '',
    logprob: logprobs[index] ?? '',
  }))
}

export const malformed = (what: string): Fault =>
  new Fault('upstream_malformed', `the upstream's stream is malformed: ${what}`, {
    retryable: true,
  })

const NOTHING = { text: '', ids: null, logprobs: [], progress: false, finish: null }

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const isTokenId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < NO_TOKEN_ID

const count = (value: unknown): number | null =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null

function readUsage(value: unknown): Usage | null {
  if (!isRecord(value)) return null
  return {
    inputTokens: count(value['prompt_tokens']),
    outputTokens: count(value['completion_tokens']),
  }
}

/** Chat's `{ content: [entry] }`, or completions' parallel arrays made into the same entries. */
function readLogprobs(value: unknown): Fields[] {
  if (!isRecord(value)) return []
  if (Array.isArray(value['content'])) return value['content'].filter(isRecord)
  const { tokens, token_logprobs: own, top_logprobs: tops } = value
  if (!Array.isArray(tokens) || !Array.isArray(own)) return []
  return tokens.map((token: unknown, index) => {
    const top: unknown = Array.isArray(tops) ? tops[index] : null
    const alternatives = isRecord(top) ? Object.entries(top) : []
    return {
      ...logprobEntry(textOf(token), own[index]),
      top_logprobs: alternatives.map(([text, logprob]) => logprobEntry(text, logprob)),
    }
  })
}

const logprobEntry = (token: string, logprob: unknown) => ({
  token,
  logprob: typeof logprob === 'number' ? logprob : null,
  bytes: [...Buffer.from(token)],
})

/** Nothing for an entry that no chunk can hold. */
function logprobText(entry: Fields): string {
  const text = JSON.stringify(entry)
  return Buffer.byteLength(text) <= MAX_TOKEN_PART_BYTES ? text : ''
}

/** Pieces that fit a chunk: a character is at most 3 bytes for each of its UTF-16 units. */
function splitText(text: string): string[] {
  const limit = Math.floor(MAX_TOKEN_PART_BYTES / 3) - 1
  if (text.length <= limit) return [text]
  const pieces: string[] = []
  for (let at = 0; at < text.length;) {
    const inPair = /[\uD800-\uDBFF]/.test(text[at + limit - 1] ?? '')
    const end = at + limit - (inPair ? 1 : 0)
    pieces.push(text.slice(at, end))
    at = end
  }
  return pieces
}
