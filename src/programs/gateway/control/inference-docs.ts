/**
 * The model routes, described for /openapi.json. They are served by the hot path, which reads requests by hand;
 * `inference-docs.test.ts` holds the two together.
 */
import { z, type OpenAPIHono } from '@hono/zod-openapi'
import {
  MAX_CHOICES,
  MAX_EMBEDDING_INPUTS,
  MAX_FALLBACK_MODELS,
  MAX_MAX_TOKENS,
  MAX_SEED,
  MAX_STOP_CHARACTERS,
  MAX_STOPS,
  MAX_TOP_LOGPROBS,
  type Api,
} from '../../../core/protocol/inference-request.ts'
import { TIERS } from '../../../core/protocol/tier.ts'
import { jsonOf, listOf, REFUSED } from './answers.ts'
import { BEARER, type ControlEnv } from './guard.ts'

const names = z.array(z.string()).max(64)
const usdPerMTok = z.union([z.number(), z.string()])

const providerSchema = z
  .strictObject({
    order: names.openapi({ description: 'Node ids or provider names to try first.' }),
    only: names,
    ignore: names,
    allow_fallbacks: z.boolean().default(true),
    require_parameters: z.boolean().default(false),
    data_collection: z.enum(['allow', 'deny']).default('allow'),
    zdr: z.boolean().default(false),
    quantizations: names,
    sort: z.enum(['price', 'throughput', 'latency']),
    max_price: z
      .strictObject({ prompt: usdPerMTok, completion: usdPerMTok })
      .partial()
      .openapi({ description: 'Dollars per million tokens.' }),
    preferred_min_throughput: z.number().openapi({ description: 'Tokens per second.' }),
    preferred_max_latency: z.number().openapi({ description: 'Seconds to the first token.' }),
    region: names,
    tier: z.array(z.enum(TIERS)),
    resume: z.enum(['continue', 'restart', 'fail']).default('continue').openapi({
      description: 'What happens when the node dies in the middle of an answer.',
    }),
    hedge: z.boolean().default(false),
  })
  .partial()
  .openapi('ProviderPreferences')

const common = {
  model: z.string().max(200).openapi({ example: 'bard-3m' }),
  models: z.array(z.string()).max(MAX_FALLBACK_MODELS).optional().openapi({
    description: 'Models to fall back to, in this order.',
  }),
  provider: providerSchema.optional(),
  user: z.string().optional(),
}

const generation = {
  ...common,
  stream: z.boolean().default(false),
  stream_options: z.strictObject({ include_usage: z.boolean() }).optional(),
  n: z.int().min(1).max(MAX_CHOICES).default(1),
  stop: z
    .union([
      z.string().max(MAX_STOP_CHARACTERS),
      z.array(z.string().max(MAX_STOP_CHARACTERS)).max(MAX_STOPS),
    ])
    .optional(),
  max_tokens: z.int().min(1).max(MAX_MAX_TOKENS).optional(),
  temperature: z.number().min(0).max(2).default(1),
  top_p: z.number().min(0).max(1).default(1),
  seed: z.int().min(-MAX_SEED).optional(),
}

const chatRequest = z
  .strictObject({
    ...generation,
    messages: z
      .array(
        z.object({
          role: z.enum(['system', 'developer', 'user', 'assistant']),
          content: z.union([
            z.string(),
            z.array(z.object({ type: z.literal('text'), text: z.string() })),
          ]),
          name: z.string().optional(),
        }),
      )
      .min(1),
    max_completion_tokens: z.int().min(1).max(MAX_MAX_TOKENS).optional(),
    logprobs: z.boolean().default(false),
    top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).optional(),
    response_format: z
      .union([
        z.object({ type: z.enum(['text', 'json_object']) }),
        z.object({
          type: z.literal('json_schema'),
          json_schema: z.object({ schema: z.record(z.string(), z.unknown()) }),
        }),
      ])
      .optional(),
  })
  .openapi('ChatCompletionRequest')

const textOrTokens = z.union([
  z.string(),
  z.array(z.int()),
  z.array(z.union([z.string(), z.array(z.int())])),
])

const completionRequest = z
  .strictObject({
    ...generation,
    prompt: textOrTokens,
    logprobs: z.int().min(0).max(5).optional(),
  })
  .openapi('CompletionRequest')

const embeddingRequest = z
  .strictObject({
    ...common,
    input: textOrTokens.openapi({ description: `At most ${MAX_EMBEDDING_INPUTS} inputs.` }),
    encoding_format: z.enum(['float', 'base64']).default('float'),
  })
  .openapi('EmbeddingRequest')

/** What the documentation promises to understand, for the test that the hot path does. */
export const DOCUMENTED_REQUESTS: Readonly<Record<Api, z.ZodObject>> = {
  chat: chatRequest,
  completion: completionRequest,
  embedding: embeddingRequest,
}

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int().optional(),
  total_tokens: z.int(),
})

const baseload = z
  .object({})
  .catchall(z.unknown())
  .openapi({ description: 'Attempts, nodes, receipt ids, price and saving of this answer.' })

const generated = z.object({ id: z.string(), created: z.int(), model: z.string(), usage, baseload })

const chatCompletion = generated
  .extend({
    object: z.literal('chat.completion'),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal('assistant'), content: z.string() }),
        logprobs: z.unknown().nullable(),
        finish_reason: z.enum(['stop', 'length']),
      }),
    ),
  })
  .openapi('ChatCompletion')

const completion = generated
  .extend({
    object: z.literal('text_completion'),
    choices: z.array(
      z.object({
        index: z.int(),
        text: z.string(),
        logprobs: z.unknown().nullable(),
        finish_reason: z.enum(['stop', 'length']),
      }),
    ),
  })
  .openapi('Completion')

const embeddings = listOf(
  z.object({
    object: z.literal('embedding'),
    index: z.int(),
    embedding: z.union([z.array(z.number()), z.string()]),
  }),
)
  .omit({ has_more: true })
  .extend({ model: z.string(), usage })

const model = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string(),
  })
  .openapi('Model')
const models = listOf(model).omit({ has_more: true })

/** The paths and methods of the hot path, as the control API's own table of routes needs them. */
export function documentInference(app: OpenAPIHono<ControlEnv>): void {
  const post = (path: string, summary: string, request: z.ZodType, answer: z.ZodType) =>
    app.openAPIRegistry.registerPath({
      method: 'post',
      path,
      summary,
      security: BEARER,
      request: { body: { ...jsonOf('The request.', request), required: true } },
      responses: { 200: jsonOf('The answer.', answer), default: REFUSED },
    })
  const get = (path: string, summary: string, params: z.ZodObject, answer: z.ZodType) =>
    app.openAPIRegistry.registerPath({
      method: 'get',
      path,
      summary,
      security: BEARER,
      request: { params },
      responses: { 200: jsonOf('The answer.', answer), default: REFUSED },
    })
  get('/v1/models', 'The models that can be asked for now', z.object({}), models)
  get('/v1/models/{id}', 'One model', z.object({ id: z.string() }), model)
  const streams = 'With `stream`, server-sent events of chunks, then [DONE]'
  post('/v1/chat/completions', `A chat answer. ${streams}`, chatRequest, chatCompletion)
  post('/v1/completions', `A text continued. ${streams}`, completionRequest, completion)
  post('/v1/embeddings', 'Vectors of texts', embeddingRequest, embeddings)
}
