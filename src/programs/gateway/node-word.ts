/**
 * A node's word about an attempt, read with the request at hand: a node may be anyone's, so whatever goes beyond
 * what was asked ends the attempt before it reaches the tenant, the bill or the memory.
 */
import { REFUSALS } from '../../core/base/refusal.ts'
import type { InferenceRequest } from '../../core/protocol/inference-request.ts'
import type { AttemptEnd, AttemptError } from '../../core/protocol/link.ts'
import { isRecord, type Fields } from '../../core/protocol/read-fields.ts'
import { decodeTokenChunks, type TokenChunk } from '../../core/protocol/token-chunk.ts'

/** The most that was asked of one attempt. */
export type Asked = {
  readonly maxTokens: number
  readonly inputTokens: number
  /** Embeddings; 0 for every other request. */
  readonly vectors: number
  readonly logprobs: boolean
}

/** What one attempt has given so far. */
type Given = { readonly tokens: number; readonly characters: number }

/** A million tokens of ordinary text are a quarter of it. */
const MAX_TEXT_CHARACTERS = 16 * 1024 * 1024

export function askedOf(
  request: InferenceRequest,
  { maxTokens, inputCeiling }: { maxTokens: number; inputCeiling: number },
): Asked {
  const embedding = request.api === 'embedding'
  return {
    maxTokens,
    inputTokens: inputCeiling,
    vectors: embedding ? request.input.length : 0,
    logprobs: !embedding && request.sampling.topLogprobs !== null,
  }
}

/** The tokens, or what no honest node sends. Logprobs that nobody asked for are left out. */
export function readTokens(payload: Uint8Array, asked: Asked, given: Given): TokenChunk[] | string {
  const chunks = decodeTokenChunks(payload)
  if (typeof chunks === 'string') return `malformed tokens: ${chunks}`
  if (given.tokens + chunks.length > asked.maxTokens)
    return `more tokens than the ${asked.maxTokens} that were asked for`
  let { characters } = given
  let plain = true
  for (const { text, logprob } of chunks) {
    characters += text.length
    if (logprob !== '') plain = false
  }
  if (characters > MAX_TEXT_CHARACTERS) return `a text of over ${MAX_TEXT_CHARACTERS} characters`
  if (plain) return chunks
  if (!asked.logprobs) return chunks.map((chunk) => ({ ...chunk, logprob: '' }))
  const wrong = chunks.find(({ logprob }) => logprob !== '' && !isLogprob(logprob))
  return wrong ? `token ${wrong.id} has a logprob that is none` : chunks
}

/** OpenAI's entry: it goes into the answer as it is. */
function isLogprob(json: string): boolean {
  // In a stream a line break would end the event, and begin one of the node's own making.
  if (/[\r\n]/.test(json)) return false
  try {
    const entry: unknown = JSON.parse(json)
    if (!isEntry(entry)) return false
    const top = entry['top_logprobs']
    return top === undefined || (Array.isArray(top) && top.every(isEntry))
  } catch {
    return false
  }
}

const isEntry = (value: unknown): value is Fields =>
  isRecord(value) &&
  typeof value['token'] === 'string' &&
  (value['logprob'] === null || typeof value['logprob'] === 'number')

/** Of its input a node is believed what the request can hold. */
export const readEnd = (end: AttemptEnd, asked: Asked): AttemptEnd =>
  end.inputTokens <= asked.inputTokens ? end : { ...end, inputTokens: asked.inputTokens }

/** Only what is wrong with the request itself ends it for good: whatever else a node says is its own trouble. */
export function readError(error: AttemptError): AttemptError {
  const status = Object.entries(REFUSALS).find(([code]) => code === error.code)?.[1].status
  const aboutRequest = (status === 400 || status === 413) && !error.code.startsWith('link_')
  return error.retryable || aboutRequest ? error : { ...error, retryable: true }
}
