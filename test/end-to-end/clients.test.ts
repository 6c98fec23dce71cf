/** Clients that nobody here wrote, as they come from npm, against the real network with the real model. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { APICallError, embedMany, generateObject, generateText, streamText } from 'ai'
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError,
} from 'openai'
import { z } from 'zod'
import { NO_LIMITS } from '../../src/io/store/store.ts'
import { programNetwork, type ProgramNetwork } from '../support/network-of-programs.ts'
import { DEMO_MODEL } from '../support/program.ts'

const LIMIT = { timeout: 180_000 }
const PROMPT = 'ROMEO: But soft, what light'
const messages = [{ role: 'user' as const, content: PROMPT }]
/** Small enough for a model of three million parameters: only the grammar makes it JSON. */
const CHOICE = z.object({ mood: z.enum(['glad', 'sad']) })

describe('clients that nobody here wrote', LIMIT, () => {
  it('openai', LIMIT, async (t) => {
    const network = await programNetwork(t, { nodes: 2 })
    const openai = clientOf(network)
    await t.test('lists models', async () => {
      const { data } = await openai.models.list()
      assert.deepEqual(
        data.map(({ id }) => id),
        [DEMO_MODEL],
      )
    })
    await t.test('chats, whole and streamed', () => chatsBothWays(openai))
    await t.test('completes', async () => {
      const { choices, usage } = await openai.completions.create({
        model: DEMO_MODEL,
        prompt: PROMPT,
        max_tokens: 8,
      })
      assert.ok(choices[0]?.text && usage?.completion_tokens)
    })
    await t.test('embeds, as base64 and as numbers', async () => {
      const input = ['love', 'war']
      const packed = await openai.embeddings.create({ model: DEMO_MODEL, input })
      const plain = await openai.embeddings.create({
        model: DEMO_MODEL,
        input,
        encoding_format: 'float',
      })
      assert.equal(packed.data.length, 2)
      const [first] = plain.data
      assert.ok(first && first.embedding.length > 8)
      packed.data[0]?.embedding.forEach((value, i) =>
        assert.ok(Math.abs(value - (first.embedding[i] ?? NaN)) < 1e-6),
      )
    })
    await t.test('gets JSON by schema', async () => {
      const answer = await openai.chat.completions.create({
        model: DEMO_MODEL,
        messages,
        max_tokens: 60,
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'choice', strict: true, schema: z.toJSONSchema(CHOICE) },
        },
      })
      CHOICE.parse(JSON.parse(answer.choices[0]?.message.content ?? ''))
    })
    await t.test('throws the class of error that its users catch', () => refusals(network, openai))
    await t.test('aborts, and the slot is free again', () => aborts(network, openai))
  })

  it('ai with @ai-sdk/openai-compatible', LIMIT, async (t) => {
    const network = await programNetwork(t, { nodes: 1 })
    const provider = createOpenAICompatible({
      name: 'baseload',
      baseURL: `${network.url}/v1`,
      apiKey: network.key,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })
    const model = provider(DEMO_MODEL)
    const settings = { model, prompt: PROMPT, temperature: 0, maxOutputTokens: 24 }
    const whole = await generateText(settings)
    assert.ok(whole.text.length > 0 && whole.usage.outputTokens)
    const stream = streamText(settings)
    let text = ''
    for await (const part of stream.textStream) text += part
    assert.equal(text, whole.text)
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens)
    const { object } = await generateObject({
      model,
      schema: CHOICE,
      prompt: PROMPT,
      maxOutputTokens: 60,
    })
    CHOICE.parse(object)
    const { embeddings } = await embedMany({
      model: provider.textEmbeddingModel(DEMO_MODEL),
      values: ['love', 'war'],
    })
    assert.equal(embeddings.length, 2)
    await assert.rejects(
      generateText({ model: provider('bart-3m'), prompt: PROMPT, maxRetries: 0 }),
      (error) => APICallError.isInstance(error) && error.statusCode === 404,
    )
    await abortsStream(network, async (signal) => {
      const long = streamText({ ...settings, maxOutputTokens: 4000, abortSignal: signal.signal })
      for await (const part of long.textStream) if (part) signal.abort()
    })
  })

  it('LangChain', LIMIT, async (t) => {
    const network = await programNetwork(t, { nodes: 1 })
    const configuration = { baseURL: `${network.url}/v1` }
    const common = { apiKey: network.key, configuration, maxRetries: 0 }
    const model = new ChatOpenAI({ ...common, model: DEMO_MODEL, temperature: 0, maxTokens: 24 })
    const whole = await model.invoke(PROMPT)
    assert.ok(typeof whole.content === 'string' && whole.content.length > 0)
    let text = ''
    for await (const chunk of await model.stream(PROMPT)) text += chunk.text
    assert.equal(text, whole.content)
    const structured = model.withStructuredOutput(z.toJSONSchema(CHOICE), {
      name: 'choice',
      method: 'jsonSchema',
    })
    CHOICE.parse(await structured.invoke(PROMPT))
    const embeddings = new OpenAIEmbeddings({ ...common, model: DEMO_MODEL })
    const vectors = await embeddings.embedDocuments(['love', 'war'])
    assert.equal(vectors.length, 2)
    const wrong = new ChatOpenAI({ ...common, model: 'bart-3m' })
    await assert.rejects(wrong.invoke(PROMPT), /bart-3m/)
    await abortsStream(network, async (signal) => {
      const long = new ChatOpenAI({ ...common, model: DEMO_MODEL, temperature: 0, maxTokens: 4000 })
      const chunks = await long.stream(PROMPT, { signal: signal.signal })
      for await (const chunk of chunks) if (chunk.content) signal.abort()
    })
  })
})

const clientOf = ({ url, key }: ProgramNetwork, apiKey = key): OpenAI =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 })

async function chatsBothWays(openai: OpenAI): Promise<void> {
  const body = { model: DEMO_MODEL, messages, max_tokens: 24, temperature: 0 }
  const whole = await openai.chat.completions.create(body)
  const stream = await openai.chat.completions.create({
    ...body,
    stream: true,
    stream_options: { include_usage: true },
  })
  let text = ''
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    usage = chunk.usage ?? usage
  }
  assert.ok(text.length > 0)
  assert.equal(text, whole.choices[0]?.message.content)
  assert.deepEqual(usage, whole.usage)
}

const ask = (client: OpenAI, more: { model?: string; max_tokens?: number } = {}) =>
  client.chat.completions.create({ model: DEMO_MODEL, messages, max_tokens: 4, ...more })

const thrown =
  (kind: abstract new (...of: never[]) => object, status: number, code: string) =>
  (error: unknown) =>
    error instanceof kind &&
    error instanceof APIError &&
    error.status === status &&
    error.code === code

/** Each kind of refusal arrives as the class that the SDK's users catch. */
async function refusals(network: ProgramNetwork, openai: OpenAI): Promise<void> {
  const stranger = clientOf(network, 'sk-bl-wrong')
  await assert.rejects(ask(stranger), thrown(AuthenticationError, 401, 'invalid_api_key'))
  await assert.rejects(
    ask(openai, { model: 'bart-3m' }),
    thrown(NotFoundError, 404, 'model_not_found'),
  )
  await assert.rejects(
    ask(openai, { max_tokens: -1 }),
    thrown(BadRequestError, 400, 'invalid_value'),
  )

  const limits = { ...NO_LIMITS, requestsPerMinute: 1 }
  const slow = clientOf(network, await network.newKey(network.account, { limits }))
  await ask(slow)
  await assert.rejects(ask(slow), thrown(RateLimitError, 429, 'rate_limit_exceeded'))

  const poor = clientOf(network, await network.newKey(await network.newTenant(10n)))
  await assert.rejects(ask(poor), thrown(APIError, 402, 'insufficient_balance'))
}

/** The node must not go on with what nobody reads: of a very long answer only the beginning is paid. */
async function aborts(network: ProgramNetwork, openai: OpenAI): Promise<void> {
  const asked = 1500
  const prompt = 'Romeo speaks of 28 ships, and of the king, and of the sea,\nAnd of the'
  await abortsStream(network, async (leave) => {
    const stream = await openai.completions.create(
      { model: DEMO_MODEL, prompt, max_tokens: asked, temperature: 0, stream: true },
      { signal: leave.signal },
    )
    for await (const chunk of stream) if (chunk.choices[0]?.text) leave.abort()
  })
  const newest = async () => (await network.store.recentUsage(network.account, 1))[0]
  await network.until(
    'what came until then is paid',
    async () => (await newest())?.api === 'completion',
  )
  const tokens = (await newest())?.outputTokens ?? 0
  assert.ok(tokens > 0 && tokens < asked / 2, `${tokens} of ${asked} tokens`)
}

/** Leaves in the middle of a long answer; whatever the client throws then, the node's slot must be free soon. */
async function abortsStream(
  network: ProgramNetwork,
  read: (leave: AbortController) => Promise<void>,
): Promise<void> {
  const leave = new AbortController()
  await read(leave).catch((error: unknown) => assert.ok(leave.signal.aborted, String(error)))
  assert.ok(leave.signal.aborted, 'it left in the middle')
  await network.until('all slots are free', async () => {
    const response = await fetch(`${network.url}/v1/network/nodes`)
    const { data }: { data: { models: { slots: number; free_slots: number }[] }[] } = JSON.parse(
      await response.text(),
    )
    return data.every(({ models }) => models.every(({ slots, free_slots }) => free_slots === slots))
  })
}
