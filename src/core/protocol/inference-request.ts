/**
 * What a tenant may ask of the OpenAI surface, read once at each edge: the gateway before it charges, the
 * node before it computes. Written by hand because it runs for every request: a schema library costs ten
 * times more here. Each parameter is understood, or refused by name; none is silently dropped.
 */
import { isRefusal, refuse, type Refusal } from '../base/refusal.ts'
import { readProviderPreferences, type ProviderPreferences } from './provider-preferences.ts'
import { readFormat, type ResponseFormat } from './response-format.ts'
import { readMessages, type ChatMessage } from './chat-message.ts'
import {
  boundedInt,
  boundedNumber,
  invalid,
  isRecord,
  missing,
  oneOf,
  optionalBoolean,
  stringList,
  unknown,
  unsupported,
  type Fields,
} from './read-fields.ts'

export type Sampling = {
  /** Null: as much as the context holds. */
  readonly maxTokens: number | null
  readonly temperature: number
  readonly topP: number
  /** Null: the gateway draws one and reports it. */
  readonly seed: number | null
  readonly stop: readonly string[]
  /** Alternatives reported with each token, 0 to 20; null: no logprobs. */
  readonly topLogprobs: number | null
  readonly format: ResponseFormat
}

type Common = {
  readonly model: string
  /** The model and then its fallbacks, each once. */
  readonly models: readonly string[]
  readonly provider: ProviderPreferences
  /** `service_tier: flex`: served after all others, refused before them. */
  readonly flexible: boolean
}

export type GenerationRequest = Common & {
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly n: number
  readonly sampling: Sampling
}

export type ChatRequest = GenerationRequest & {
  readonly api: 'chat'
  readonly messages: readonly ChatMessage[]
}
export type CompletionRequest = GenerationRequest & {
  readonly api: 'completion'
  /** Several prompts give n choices each, in order. */
  readonly prompts: readonly (string | readonly number[])[]
  readonly echo: boolean
}
export type EmbeddingRequest = Common & {
  readonly api: 'embedding'
  readonly input: readonly (string | readonly number[])[]
  readonly encoding: 'float' | 'base64'
}
export type InferenceRequest = ChatRequest | CompletionRequest | EmbeddingRequest
export type Api = InferenceRequest['api']

export const MAX_BODY_BYTES = 8 * 1024 * 1024
export const MAX_CHOICES = 16 // n × prompts: each is an attempt of its own on a node
export const MAX_STOPS = 4 // OpenAI's own limit
export const MAX_STOP_CHARACTERS = 256 // the longest text a node must hold back
export const MAX_MAX_TOKENS = 1_000_000
export const MAX_FALLBACK_MODELS = 8
export const MAX_TOP_LOGPROBS = 20 // OpenAI's own limit
export const MAX_EMBEDDING_INPUTS = 2048 // OpenAI's own limit
export const MAX_SEED = 0xffff_ffff

export function readInferenceRequest(api: Api, body: unknown): InferenceRequest | Refusal {
  if (!isRecord(body)) return refuse('invalid_value', 'The request body must be a JSON object.')
  switch (api) {
    case 'chat':
      return readChat(body)
    case 'completion':
      return readCompletion(body)
    case 'embedding':
      return readEmbedding(body)
  }
}

function readChat(body: Fields): ChatRequest | Refusal {
  const stray = strayParameter(body, CHAT_PARAMETERS)
  if (stray) return stray
  const topLogprobs = readChatLogprobs(body)
  if (isRefusal(topLogprobs)) return topLogprobs
  const generation = readGeneration(body, 1, topLogprobs, null)
  if (isRefusal(generation)) return generation
  const messages = readMessages(body['messages'])
  if (isRefusal(messages)) return messages
  // Named one by one: a spread with more members behind it makes a new hidden class a request in Node 20,
  // and all code that then meets the object runs at a fraction of its speed.
  const { model, models, provider, flexible, stream, includeUsage, n, sampling } = generation
  const api = 'chat'
  return { model, models, provider, flexible, stream, includeUsage, n, sampling, api, messages }
}

function readCompletion(body: Fields): CompletionRequest | Refusal {
  const stray = strayParameter(body, COMPLETION_PARAMETERS)
  if (stray) return stray
  const prompts = readInputs(body['prompt'] ?? '<|endoftext|>', 'prompt', MAX_CHOICES)
  if (isRefusal(prompts)) return prompts
  const topLogprobs = boundedInt(body, 'logprobs', 0, 5)
  if (isRefusal(topLogprobs)) return topLogprobs
  const generation = readGeneration(body, prompts.length, topLogprobs, COMPLETION_MAX_TOKENS)
  if (isRefusal(generation)) return generation
  if (generation.sampling.format.type !== 'text')
    return unsupported('response_format', 'is for chat completions')
  const echo = optionalBoolean(body, 'echo', false)
  if (isRefusal(echo)) return echo
  if (echo) return unsupported('echo', 'is not offered: the prompt is yours already')
  const { model, models, provider, flexible, stream, includeUsage, n, sampling } = generation
  const api = 'completion'
  return {
    model,
    models,
    provider,
    flexible,
    stream,
    includeUsage,
    n,
    sampling,
    api,
    prompts,
    echo,
  }
}

/** OpenAI's old default where nobody says more. */
const COMPLETION_MAX_TOKENS = 16

function readEmbedding(body: Fields): EmbeddingRequest | Refusal {
  const stray = strayParameter(body, EMBEDDING_PARAMETERS)
  if (stray) return stray
  const common = readCommon(body)
  if (isRefusal(common)) return common
  if (body['input'] === undefined) return missing('input')
  const input = readInputs(body['input'], 'input', MAX_EMBEDDING_INPUTS)
  if (isRefusal(input)) return input
  const encoding = oneOf(body, 'encoding_format', ['float', 'base64'], 'float')
  if (isRefusal(encoding)) return encoding
  if (body['dimensions'] != null)
    return unsupported('dimensions', 'cannot be changed here: vectors come whole')
  return { ...common, api: 'embedding', input, encoding }
}

function readCommon(body: Fields): Common | Refusal {
  const { model } = body
  if (model === undefined) return missing('model')
  if (typeof model !== 'string' || model === '' || model.length > 200)
    return invalid('model', 'a model id', model)
  const fallbacks = stringList(body, 'models', MAX_FALLBACK_MODELS, 200)
  if (isRefusal(fallbacks)) return fallbacks
  const provider = readProviderPreferences(body['provider'])
  if (isRefusal(provider)) return provider
  if (body['user'] != null && typeof body['user'] !== 'string')
    return invalid('user', 'a string', body['user'])
  const models = fallbacks.length === 0 ? [model] : [...new Set([model, ...fallbacks])]
  return { model, models, provider, flexible: body['service_tier'] === 'flex' }
}

function readGeneration(
  body: Fields,
  prompts: number,
  topLogprobs: number | null,
  defaultMaxTokens: number | null,
): GenerationRequest | Refusal {
  const common = readCommon(body)
  if (isRefusal(common)) return common
  const stream = optionalBoolean(body, 'stream', false)
  if (isRefusal(stream)) return stream
  const includeUsage = readStreamOptions(body, stream)
  if (isRefusal(includeUsage)) return includeUsage
  const n = boundedInt(body, 'n', 1, MAX_CHOICES)
  if (isRefusal(n)) return n
  if ((n ?? 1) * prompts > MAX_CHOICES) {
    return refuse(
      'invalid_value',
      `n × prompts is ${(n ?? 1) * prompts}; at most ${MAX_CHOICES} choices in one request.`,
      { param: 'n' },
    )
  }
  const neutral = readNeutral(body)
  if (neutral) return neutral
  const sampling = readSampling(body, topLogprobs, defaultMaxTokens)
  if (isRefusal(sampling)) return sampling
  const { model, models, provider, flexible } = common
  return { model, models, provider, flexible, stream, includeUsage, n: n ?? 1, sampling }
}

function readSampling(
  body: Fields,
  topLogprobs: number | null,
  defaultMaxTokens: number | null,
): Sampling | Refusal {
  const limit = body['max_completion_tokens'] != null ? 'max_completion_tokens' : 'max_tokens'
  const maxTokens = boundedInt(body, limit, 1, MAX_MAX_TOKENS)
  if (isRefusal(maxTokens)) return maxTokens
  const temperature = boundedNumber(body, 'temperature', 0, 2, 1)
  if (isRefusal(temperature)) return temperature
  const topP = boundedNumber(body, 'top_p', 0, 1, 1)
  if (isRefusal(topP)) return topP
  const seed = boundedInt(body, 'seed', -MAX_SEED, Number.MAX_SAFE_INTEGER)
  if (isRefusal(seed)) return seed
  const stop = readStop(body['stop'])
  if (isRefusal(stop)) return stop
  const format = readFormat(body['response_format'])
  if (isRefusal(format)) return format
  // Seeds are 32 bits in every engine we know; larger or negative ones are folded, not refused.
  return {
    maxTokens: maxTokens ?? defaultMaxTokens,
    temperature,
    topP,
    seed: seed === null ? null : seed >>> 0,
    stop,
    topLogprobs,
    format,
  }
}

function readStreamOptions(body: Fields, stream: boolean): boolean | Refusal {
  const options = body['stream_options']
  if (options == null) return false
  if (!stream)
    return refuse('invalid_value', "'stream_options' is only allowed when 'stream' is true.", {
      param: 'stream_options',
    })
  if (!isRecord(options)) return invalid('stream_options', 'an object', options)
  for (const key of Object.keys(options)) {
    if (key !== 'include_usage' && key !== 'include_obfuscation')
      return unknown(`stream_options.${key}`)
  }
  if (options['include_obfuscation'] === true)
    return unsupported('stream_options.include_obfuscation', 'is not offered')
  return optionalBoolean(options, 'include_usage', false, 'stream_options.')
}

function readChatLogprobs(body: Fields): number | null | Refusal {
  const logprobs = optionalBoolean(body, 'logprobs', false)
  if (isRefusal(logprobs)) return logprobs
  const top = boundedInt(body, 'top_logprobs', 0, MAX_TOP_LOGPROBS)
  if (isRefusal(top)) return top
  if (top !== null && !logprobs)
    return refuse('invalid_value', "'top_logprobs' needs 'logprobs': true.", {
      param: 'top_logprobs',
    })
  return logprobs ? (top ?? 0) : null
}

function readStop(value: unknown): string[] | Refusal {
  if (value == null) return []
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length > MAX_STOPS)
    return refuse(
      'invalid_value',
      `'stop' has ${list.length} sequences; the limit is ${MAX_STOPS}.`,
      { param: 'stop' },
    )
  const stops: string[] = []
  for (const item of list) {
    if (typeof item !== 'string' || item === '' || item.length > MAX_STOP_CHARACTERS) {
      return invalid(
        'stop',
        `a string of 1 to ${MAX_STOP_CHARACTERS} characters, or up to ${MAX_STOPS} of them`,
        item,
      )
    }
    stops.push(item)
  }
  return stops
}

/** One text, one list of token ids, or a list of either. */
function readInputs(value: unknown, path: string, limit: number): (string | number[])[] | Refusal {
  const list: unknown[] = Array.isArray(value) && typeof value[0] !== 'number' ? value : [value]
  if (list.length === 0) return refuse('invalid_value', `'${path}' is empty.`, { param: path })
  if (list.length > limit)
    return refuse('invalid_value', `'${path}' has ${list.length} entries; the limit is ${limit}.`, {
      param: path,
    })
  const inputs: (string | number[])[] = []
  for (let i = 0; i < list.length; i++) {
    const item = list[i]
    if (typeof item === 'string' && item !== '') inputs.push(item)
    else if (Array.isArray(item) && item.length > 0 && item.every(isTokenId)) inputs.push(item)
    else
      return invalid(
        list.length > 1 ? `${path}[${i}]` : path,
        'a non-empty string or a list of token ids',
        item,
      )
  }
  return inputs
}

const isTokenId = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) < 0xffff_ffff

/** Parameters that are fine at the value that changes nothing, and refused at any other. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  frequency_penalty: [0],
  presence_penalty: [0],
  logit_bias: [],
  best_of: [1],
  suffix: [''],
  store: [false],
  service_tier: ['auto', 'default', 'flex'],
  tools: [],
  tool_choice: ['none', 'auto'],
  parallel_tool_calls: [true, false],
  functions: [],
  function_call: ['none', 'auto'],
  modalities: [],
  audio: [],
  prediction: [],
  web_search_options: [],
  reasoning_effort: [],
  verbosity: [],
  top_k: [0, -1],
  min_p: [0],
  repetition_penalty: [1],
}

function readNeutral(body: Fields): Refusal | null {
  for (const key of Object.keys(body)) {
    const neutral = NEUTRAL[key]
    const value = body[key]
    if (!neutral || value == null || neutral.includes(value) || isEmpty(value)) continue
    if (key === 'modalities' && Array.isArray(value) && value.length === 1 && value[0] === 'text')
      continue
    return unsupported(key, 'is not offered by any engine here yet; leave it out')
  }
  return null
}

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0

const COMMON = [
  'model',
  'models',
  'provider',
  'user',
  'metadata',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
]
const GENERATION = [
  ...COMMON,
  ...Object.keys(NEUTRAL),
  'stream',
  'stream_options',
  'n',
  'stop',
  'max_tokens',
  'temperature',
  'top_p',
  'seed',
  'logprobs',
]
const CHAT_PARAMETERS = new Set([
  ...GENERATION,
  'messages',
  'max_completion_tokens',
  'top_logprobs',
  'response_format',
])
const COMPLETION_PARAMETERS = new Set([...GENERATION, 'prompt', 'echo', 'response_format'])
const EMBEDDING_PARAMETERS = new Set([...COMMON, 'input', 'encoding_format', 'dimensions'])

function strayParameter(body: Fields, known: ReadonlySet<string>): Refusal | null {
  for (const key of Object.keys(body)) if (!known.has(key)) return unknown(key)
  return null
}
