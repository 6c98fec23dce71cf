/** A test double's manners: the routes, lists and refusals that tell one server from another. */
import type { ServerResponse } from 'node:http'
import type { Fields } from '../../../core/protocol/read-fields.ts'
export type Likeness = 'vllm' | 'ollama' | 'llama.cpp' | 'baseload' | 'bare'

/** How the next answers go. `cut`, `stall`, `malformed` and `error` happen after four tokens. */
export type Mood =
  | 'well'
  | 'cut'
  | 'stall'
  | 'malformed'
  | 'error'
  | 'no finish'
  | 'no usage'
  | 'insane usage'
  | 'no limit'
  | 'drip' // a few bytes at a time
  | 'slow' // a token each 20 ms
  | 'whole' // not streamed at all
  | 'busy'
  | 'failing'
  | 'silent'
  | 'stale' // closes a kept connection just when it is used again

export const FAKE_MODEL = 'toy/harbour-1'
export const FAKE_CONTEXT_TOKENS = 512
export const FAKE_DIGEST = 'ab'.repeat(32)

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

type Refused = { readonly status: number; readonly body: Fields }

/** Everything but generation. */
export function answerLikeServer(
  like: Likeness,
  path: string,
  body: Fields,
  response: ServerResponse,
): void {
  if (path === '/v1/embeddings') return embeddings(like, body, response)
  if (path === '/v1/models')
    return sendJson(response, 200, { object: 'list', data: [LISTED[like], { object: 'odd' }] })
  const own = OWN_ROUTES[like][path]
  if (own) return sendJson(response, 200, own)
  sendJson(response, 404, { error: { message: 'Not Found' } })
}

/** Null: it will answer. */
export function refuseLikeServer(
  like: Likeness,
  mood: Mood,
  body: Fields,
  promptTokens: number,
): Refused | null {
  if (mood === 'busy') return { status: 503, body: { error: { message: 'Service Unavailable' } } }
  if (mood === 'failing') return { status: 500, body: { detail: 'Internal Server Error' } }
  const answerTokens = Number(body['max_tokens'] ?? 0)
  if (like === 'vllm' && promptTokens + answerTokens > FAKE_CONTEXT_TOKENS)
    return badRequest(
      `This model's maximum context length is ${FAKE_CONTEXT_TOKENS} tokens. However, you requested ` +
        `${promptTokens + answerTokens} tokens (${promptTokens} in the messages, ${answerTokens} in the completion).`,
    )
  const stray = Object.keys(body).find((key) => UNKNOWN_TO_BASELOAD.has(key))
  if (like === 'baseload' && stray !== undefined)
    return badRequest(`Unknown parameter: '${stray}'.`, 'unknown_parameter')
  if (like === 'ollama' && body['prompt'] !== undefined && typeof body['prompt'] !== 'string')
    return badRequest('invalid prompt')
  return null
}

const badRequest = (message: string, code: string | number = 400): Refused => ({
  status: 400,
  body: { error: { message, type: 'BadRequestError', param: null, code } },
})

const UNKNOWN_TO_BASELOAD = new Set([
  'return_token_ids',
  'continue_final_message',
  'add_generation_prompt',
])

const LISTED: Readonly<Record<Likeness, Fields>> = {
  vllm: { id: FAKE_MODEL, owned_by: 'vllm', max_model_len: FAKE_CONTEXT_TOKENS },
  ollama: { id: FAKE_MODEL, owned_by: 'library' },
  'llama.cpp': { id: FAKE_MODEL, owned_by: 'llamacpp', meta: { n_ctx_train: 2048 } },
  baseload: { id: FAKE_MODEL, owned_by: 'baseload', digest: `sha256:${FAKE_DIGEST}` },
  bare: { id: FAKE_MODEL },
}

const OWN_ROUTES: Readonly<Record<Likeness, Readonly<Record<string, Fields>>>> = {
  vllm: { '/version': { version: '0.9.1' } },
  ollama: {
    '/api/version': { version: '0.12.0' },
    '/api/tags': {
      models: [
        { name: FAKE_MODEL, digest: FAKE_DIGEST, details: { quantization_level: 'Q4_K_M' } },
      ],
    },
    '/api/ps': { models: [{ name: FAKE_MODEL, context_length: 8192 }] },
  },
  'llama.cpp': {
    '/props': { build_info: 'b4567-abcdef', default_generation_settings: { n_ctx: 1024 } },
  },
  baseload: { '/v1/network': { object: 'network', gateway: 'gw_0', version: '0.1.0' } },
  bare: {},
}

/** Unit vectors that turn with the text's length: enough to see that texts and vectors belong together. */
function embeddings(like: Likeness, { input }: Fields, response: ServerResponse): void {
  if (like === 'bare') return sendJson(response, 404, { error: { message: 'Not Found' } })
  const inputs = Array.isArray(input) ? input : []
  const data = inputs.map((one: unknown, index) => ({
    object: 'embedding',
    index,
    embedding: [Math.cos(String(one).length), Math.sin(String(one).length)],
  }))
  sendJson(response, 200, { data: data.toReversed(), usage: { prompt_tokens: 3 * data.length } })
}
