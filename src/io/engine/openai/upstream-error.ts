/**
 * What an upstream's error means here: the tenant's own mistake is a refusal in our words, anything else is a
 * Fault, and the network tries another node.
 */
import { Fault, refuse, REFUSALS, type RefusalCode } from '../../../core/base/refusal.ts'
import { isRecord } from '../../../core/protocol/read-fields.ts'
import { EngineRefusal } from '../engine-refusal.ts'

type Told = { readonly message: string; readonly code: string; readonly param: string | null }

/**
 * `status` as HTTP has it, `body` as parsed. `resuming`: a refusal then only says that this upstream cannot
 * go on with another's answer, which another node may do.
 */
export function upstreamError(
  status: number,
  body: unknown,
  resuming = false,
): EngineRefusal | Fault {
  const told = readError(body)
  const text = told.message === '' ? `status ${status}` : told.message.slice(0, 500)
  if (status === 429 || status === 503)
    return new Fault('busy', `the upstream is busy: ${text}`, { retryable: true })
  if (status === 401 || status === 403)
    return new Fault('upstream_key_rejected', `the upstream rejects this node's key: ${text}`, {
      retryable: true,
    })
  const code = refusalCode(status, told)
  if (code === null || resuming)
    return new Fault('upstream_failed', `the upstream failed (${status}): ${text}`, {
      retryable: true,
    })
  return new EngineRefusal(refuse(code, text, told.param === null ? {} : { param: told.param }))
}

/** vLLM, SGLang, llama-server, LM Studio and OpenAI each say it differently. */
const OVERFLOW =
  /maximum context length|context_length_exceeded|exceed\w*[ _].{0,40}context|longer than the (maximum )?model|context length of only|context.{0,20}overflow/i

/** Null: the tenant is not to blame. */
function refusalCode(status: number, told: Told): RefusalCode | null {
  if (status !== 400 && status !== 413 && status !== 422) return null
  if (OVERFLOW.test(`${told.code} ${told.message}`)) return 'context_length_exceeded'
  if (status === 413) return 'request_too_large'
  return isRequestRefusal(told.code) ? told.code : 'invalid_value'
}

/** Codes of our own that another Baseload gateway may send about the request itself. */
const isRequestRefusal = (code: string): code is RefusalCode =>
  Object.entries(REFUSALS).some(
    ([known, row]) => known === code && (row.status === 400 || row.status === 413),
  )

/** OpenAI's shape, FastAPI's `detail`, Ollama's bare string. */
function readError(body: unknown): Told {
  const outer = isRecord(body) ? body : {}
  const inner = isRecord(outer['error']) ? outer['error'] : outer
  const message = [inner['message'], outer['error'], outer['detail'], outer['message']].find(
    (one) => typeof one === 'string',
  )
  const code = [inner['code'], inner['type']].filter((one) => typeof one === 'string').join(' ')
  const own = inner['code']
  const param = inner['param']
  return {
    message: typeof message === 'string' ? message : '',
    code: typeof own === 'string' && own in REFUSALS ? own : code,
    param: typeof param === 'string' ? param : null,
  }
}

/**
 * How many tokens are left for the answer, when an upstream refused `max_tokens` only because prompt and
 * answer together pass its context; null when the prompt alone is too long, or the message does not say.
 */
export function roomLeft(body: unknown): number | null {
  const { message } = readError(body)
  const context = /context length (?:is|of) (\d+)/i.exec(message)?.[1]
  const input =
    /\((\d+) in the (?:messages|prompt)/i.exec(message)?.[1] ??
    /(\d+) (?:tokens from the )?input (?:tokens|messages)/i.exec(message)?.[1]
  if (context === undefined || input === undefined) return null
  const room = Number(context) - Number(input)
  return room > 0 ? room : null
}
