import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NO_TOKEN_ID } from '../../../core/protocol/token-chunk.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { describeEngine, generate } from '../engine-conformance.ts'
import { FAKE_DIGEST, FAKE_MODEL, type Likeness, type Mood } from './fake-upstream-dialects.ts'
import { startFakeUpstream } from './fake-upstream.ts'
import { startOpenAiEngine, type OpenAiEngineOptions } from './openai-engine.ts'

const timeout = 20_000

for (const like of ['vllm', 'ollama'] as const)
  describeEngine(`openai before a ${like} double`, () => setup(like), {
    boundedQueue: true,
    countsContext: like === 'vllm',
  })

describe('startOpenAiEngine', () => {
  const all = ['chat', 'completion', 'embedding', 'json_object', 'json_schema', 'stop', 'seed']
  const expected: Record<Likeness, readonly string[]> = {
    vllm: [...all, 'logprobs', 'token_ids', 'resume_text'],
    ollama: [...all, 'logprobs', 'resume_text'],
    'llama.cpp': [...all, 'logprobs', 'resume_text'],
    baseload: [...all, 'logprobs', 'token_ids'],
    bare: ['chat', 'completion', 'logprobs'],
  }
  const facts: Record<Likeness, readonly [engine: string, digest: string, context: number]> = {
    vllm: ['vllm/0.9.1', `name:vllm:${FAKE_MODEL}`, 512],
    ollama: ['ollama/0.12.0', `sha256:${FAKE_DIGEST}`, 8192],
    'llama.cpp': ['llama.cpp/b4567-abcdef', `name:llama.cpp:${FAKE_MODEL}`, 1024],
    baseload: ['baseload/0.1.0', `sha256:${FAKE_DIGEST}`, 4096],
    bare: ['openai-compatible', `name:openai-compatible:${FAKE_MODEL}`, 4096],
  }
  for (const like of ['vllm', 'ollama', 'llama.cpp', 'baseload', 'bare'] as const) {
    it(`offers what a ${like} upstream shows, and no more`, { timeout }, async (t) => {
      const { engine, close } = await setup(like)
      t.after(close)
      const [model] = engine.models()
      assert.deepEqual(model?.capabilities.toSorted(), expected[like].toSorted())
      assert.deepEqual([model?.engine, model?.digest, model?.contextTokens], facts[like])
      assert.equal(model?.quantization, like === 'ollama' ? 'Q4_K_M' : null)
    })
  }

  it('says which models there are when the wanted one is not', { timeout }, async () => {
    await assert.rejects(setup('vllm', { models: ['other'] }), {
      code: 'upstream_model_missing',
      message: /does not serve other; it has: toy\/harbour-1/,
    })
  })

  it('serves nothing rather than a model that never answers', { timeout }, async () => {
    const fake = await startFakeUpstream('bare')
    fake.mood = 'failing'
    const starting = startOpenAiEngine({ ...plainOptions, upstream: fake.url })
    await assert.rejects(starting, { code: 'upstream_no_models' })
    await fake.close()
  })

  it('names an upstream that is not there, and an address that is none', { timeout }, async () => {
    const fake = await startFakeUpstream('bare')
    await fake.close()
    const gone = startOpenAiEngine({ ...plainOptions, upstream: fake.url })
    await assert.rejects(gone, { code: 'upstream_unreachable', retryable: true })
    const odd = startOpenAiEngine({ ...plainOptions, upstream: 'ftp://localhost/v1' })
    await assert.rejects(odd, { code: 'upstream_address' })
  })
})

describe('OpenAiEngine.generate', () => {
  it('gives true ids with their texts when the upstream has them', { timeout }, async (t) => {
    for (const like of ['vllm', 'baseload'] as const) {
      const under = await setup(like)
      t.after(under.close)
      const { chunks, end } = await generate(under, { topLogprobs: 1 })
      assert.ok(chunks.every((chunk) => chunk.id !== NO_TOKEN_ID && chunk.text !== ''))
      assert.equal(JSON.parse(chunks[0]!.logprob).token, chunks[0]!.text)
      assert.deepEqual([end.outputTokens, end.finish], [24, 'length'])
    }
  })

  it('tells chunks without ids apart, and counts by the usage', { timeout }, async (t) => {
    const under = await setup('ollama')
    t.after(under.close)
    const { chunks, end } = await generate(under, {})
    assert.ok(chunks.every((chunk) => chunk.id === NO_TOKEN_ID))
    assert.equal(end.outputTokens, 24)
    assert.ok(end.inputTokens > 0)
  })

  it('reads the same answer however the bytes drip', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    const whole = await generate(under, {})
    under.fake.mood = 'drip'
    assert.deepEqual(await generate(under, {}), whole)
    assert.match(whole.text, /[éï🌊]/u, 'the text should have split characters')
  })

  it('resumes a chat and a completion in the middle', { timeout }, async (t) => {
    for (const like of ['vllm', 'llama.cpp'] as const) {
      const under = await setup(like)
      t.after(under.close)
      for (const input of [
        { kind: 'chat', messages: [{ role: 'user', content: 'What light is this?' }] },
        { kind: 'completion', prompt: 'What light is this?' },
      ] as const) {
        const whole = await generate(under, { input })
        const given = whole.chunks.slice(0, 9)
        const resume = {
          tokenIds: given.map((chunk) => chunk.id),
          text: given.map((chunk) => chunk.text).join(''),
        }
        const rest = await generate(under, { input, resume, maxTokens: 15 })
        assert.equal(resume.text + rest.text, whole.text)
        assert.equal(rest.end.outputTokens, 15)
      }
    }
  })

  it('takes prompts of token ids', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    const { end } = await generate(under, { input: { kind: 'completion', prompt: [1, 2, 3] } })
    assert.deepEqual(end, { finish: 'length', inputTokens: 3, outputTokens: 24 })
  })

  const broken: [Mood, string][] = [
    ['cut', 'upstream_cut'],
    ['no finish', 'upstream_cut'],
    ['stall', 'upstream_stalled'],
    ['silent', 'upstream_stalled'],
    ['malformed', 'upstream_malformed'],
    ['error', 'upstream_failed'],
    ['failing', 'upstream_failed'],
    ['busy', 'busy'],
  ]
  for (const [mood, code] of broken) {
    it(`is a retryable fault '${code}' when the answer is: ${mood}`, { timeout }, async (t) => {
      const under = await setup('vllm', { waits: { stallMs: 300, firstByteMs: 300 } })
      t.after(under.close)
      under.fake.mood = mood
      await assert.rejects(generate(under, {}), { name: 'Fault', code, retryable: true })
      assert.equal(under.engine.load(under.model).free, 2)
    })
  }

  it('counts what passed when the usage is missing or absurd', { timeout }, async (t) => {
    const under = await setup('ollama')
    t.after(under.close)
    for (const mood of ['no usage', 'insane usage'] as const) {
      under.fake.mood = mood
      const { end } = await generate(under, {})
      assert.equal(end.outputTokens, 24, mood)
      assert.ok(end.inputTokens > 0, mood)
    }
  })

  it('never gives more tokens than were asked for', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    under.fake.mood = 'no limit'
    const { chunks, end } = await generate(under, {})
    assert.deepEqual([chunks.length, end.outputTokens, end.finish], [24, 24, 'length'])
  })

  it(
    'produces what the context still holds, and refuses a prompt beyond it',
    { timeout },
    async (t) => {
      const under = await setup('vllm')
      t.after(under.close)
      const { end } = await generate(under, { maxTokens: 100_000 })
      assert.equal(end.finish, 'length')
      const content = 'a '.repeat(600)
      const input = { kind: 'chat', messages: [{ role: 'user', content }] } as const
      await assert.rejects(generate(under, { input }), refusal('context_length_exceeded'))
    },
  )

  it('refuses by name what the upstream did not show', { timeout }, async (t) => {
    const under = await setup('bare')
    t.after(under.close)
    await assert.rejects(generate(under, { stop: ['x'] }), refusal('unsupported_feature'))
    const format = { type: 'json_object' } as const
    await assert.rejects(generate(under, { format }), refusal('unsupported_feature'))
    const elsewhere = { engine: under.engine, model: 'other' }
    await assert.rejects(generate(elsewhere, {}), refusal('model_not_found'))
    const resume = { tokenIds: [1], text: ' grey' }
    await assert.rejects(generate(under, { resume }), { code: 'cannot_resume', retryable: true })
  })

  it('closes the upstream request at once on abort', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    under.fake.mood = 'slow'
    const abort = new AbortController()
    const task = { model: under.model, ...slowTask }
    const stream = under.engine.generate(task, abort.signal)
    const first = await stream.next()
    assert.equal(first.done, false)
    abort.abort()
    assert.equal(under.engine.load(under.model).free, 2, 'the slot is free before anyone reads on')
    const last = await stream.next()
    assert.ok(last.done === true && last.value.finish === 'cancelled')
    assert.ok(last.value.inputTokens > 0, 'leaving early is not free')
    await until(() => under.fake.running() === 0)
  })

  it('closes the upstream request when the reader just leaves', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    under.fake.mood = 'slow'
    const stream = under.engine.generate(
      { model: under.model, ...slowTask },
      new AbortController().signal,
    )
    await stream.next()
    await stream.return({ finish: 'cancelled', inputTokens: 0, outputTokens: 0 })
    await until(() => under.fake.running() === 0)
    assert.equal(under.engine.load(under.model).free, 2)
  })

  it('queues as many as it has slots, and is busy beyond', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    under.fake.mood = 'slow'
    const abort = new AbortController()
    const running = [1, 2, 3, 4].map(() => generate(under, slowTask, abort.signal))
    await assert.rejects(generate(under, {}), { code: 'busy', retryable: true })
    assert.deepEqual(under.engine.load(under.model), { free: 0, queued: 2 })
    abort.abort()
    for (const { end } of await Promise.all(running)) assert.equal(end.finish, 'cancelled')
  })

  it('keeps its connections', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    const before = under.fake.connections()
    for (let i = 0; i < 5; i++) await generate(under, {})
    assert.ok(under.fake.connections() - before <= 1)
  })

  it('sends again when a kept connection was closed under it', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    await generate(under, {})
    under.fake.mood = 'stale'
    assert.equal((await generate(under, {})).end.outputTokens, 24)
  })
})

describe('OpenAiEngine.embed', () => {
  it('gives vectors in the order of the texts', { timeout }, async (t) => {
    const under = await setup('vllm')
    t.after(under.close)
    const signal = new AbortController().signal
    const result = await under.engine.embed(
      { model: under.model, input: ['a', 'bb', 'ccc'] },
      signal,
    )
    const lengths = result.vectors.map(([x = 0, y = 0]) => Math.round(Math.atan2(y, x)))
    assert.deepEqual(lengths, [1, 2, 3])
    assert.equal(result.inputTokens, 9)
    const mixed = under.engine.embed({ model: under.model, input: ['a', [1]] }, signal)
    await assert.rejects(mixed, refusal('invalid_value'))
  })
})

const plainOptions = {
  apiKey: 'sk-test',
  slots: 2,
  logger: silentLogger,
  waits: { tryMs: 2_000, loadMs: 2_000 },
}

const slowTask = {
  input: { kind: 'chat', messages: [{ role: 'user', content: 'Tell me everything.' }] },
  maxTokens: 300,
  temperature: 0,
  topP: 1,
  seed: 7,
  stop: [],
  topLogprobs: null,
  format: { type: 'text' },
  resume: null,
} as const

const refusal = (code: string) => (error: unknown) => {
  assert.ok(error instanceof Error && 'refusal' in error, String(error))
  assert.equal((error.refusal as { code: string }).code, code)
  return true
}

async function until(true_: () => boolean): Promise<void> {
  while (!true_()) await new Promise(setImmediate)
}

async function setup(like: Likeness, changes: Partial<OpenAiEngineOptions> = {}) {
  const fake = await startFakeUpstream(like)
  try {
    const engine = await startOpenAiEngine({ ...plainOptions, upstream: fake.url, ...changes })
    const close = async () => {
      await engine.close()
      await fake.close()
    }
    return { engine, model: FAKE_MODEL, fake, close }
  } catch (error) {
    await fake.close()
    throw error
  }
}
