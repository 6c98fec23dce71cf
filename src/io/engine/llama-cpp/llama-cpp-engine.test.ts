import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import { seededRandom } from '../../../core/base/random.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import { describeEngine, generate, plainTask } from '../engine-conformance.ts'
import type { Engine, GenerationTask } from '../engine.ts'
import { startLlamaCppEngine } from './llama-cpp-engine.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const enginesDir = process.env['BASELOAD_ENGINES'] ?? `${root}/node_modules/.cache/baseload/engines`
const model = 'bard-3m'
const timeout = 30_000

describeEngine('llama.cpp', () => setup(), { boundedQueue: true, countsContext: true })
describeEngine('llama.cpp with slots batched', () => setup({ gpu: 'auto' }), {
  boundedQueue: true,
  countsContext: true,
})

describe('startLlamaCppEngine', () => {
  let engine: Engine
  before(async () => {
    ;({ engine } = await setup({ slots: 4 }))
  })
  after(() => engine.close())

  it('reports the file it serves and what it proved', { timeout }, () => {
    assert.deepEqual(engine.models(), [
      {
        model,
        digest: 'sha256:3ae50844752ecf65ffbd47186e63f033152f82a319af94f14a0d257e1131e35e',
        engine: 'llama.cpp/3.22.1',
        quantization: 'F16',
        contextTokens: 512,
        slots: 4,
        capabilities: [
          'completion',
          'logprobs',
          'token_ids',
          'seed',
          'positional_seed',
          'json_object',
          'json_schema',
          'stop',
          'resume_ids',
          'chat',
          'embedding',
        ],
      },
    ])
  })

  for (const temperature of [0, 0.8]) {
    it(`resumes byte for byte at every cut, temperature ${temperature}`, { timeout }, async () => {
      const task = { ...ask('Who comes there?'), temperature, maxTokens: 40 }
      const whole = await generate({ engine, model }, task)
      assert.ok(whole.chunks.length > 10)
      for (let cut = 0; cut <= whole.chunks.length; cut++) await resumesAfter(cut, task, whole)
    })
  }

  it('resumes byte for byte beside other generations', { timeout }, async () => {
    const random = seededRandom(11)
    for (let trial = 0; trial < 8; trial++) {
      const temperature = trial % 2
      const task = { ...ask(`${trial} ghosts walk.`), temperature, maxTokens: 24, seed: trial }
      const whole = await generate({ engine, model }, task)
      const company = Array.from({ length: trial % 4 }, (_, i) =>
        generate({ engine, model }, { ...ask(`Noise ${i}`), temperature: 1, seed: i }),
      )
      await resumesAfter(1 + Math.floor(random() * (whole.chunks.length - 1)), task, whole)
      await Promise.all(company)
    }
  })

  it('resumes a stop sequence that was half held back', { timeout }, async () => {
    const free = await generate({ engine, model }, {})
    const task = { stop: [free.text.slice(6, 16)] }
    const whole = await generate({ engine, model }, task)
    assert.equal(whole.text, free.text.slice(0, 6))
    for (let cut = 0; cut <= whole.chunks.length; cut++) await resumesAfter(cut, task, whole)
  })

  it('refuses to go on after text that its tokens do not spell', { timeout }, async () => {
    const resume = { tokenIds: [74, 117], text: 'Something else' }
    await assert.rejects(generate({ engine, model }, { resume }), { code: 'resume_mismatch' })
    const alone = { tokenIds: [], text: 'It' }
    await assert.rejects(generate({ engine, model }, { resume: alone }), /needs token ids/)
  })

  it(
    'says the same with and without log probabilities, which are the raw model’s',
    { timeout },
    async () => {
      const hot = { temperature: 0.7, topP: 0.9, seed: 3, maxTokens: 12 }
      const plain = await generate({ engine, model }, hot)
      const shown = await generate({ engine, model }, { ...hot, topLogprobs: 2 })
      assert.equal(shown.text, plain.text)
      const greedy = await generate({ engine, model }, { topLogprobs: 2, maxTokens: 1 })
      const first = (one: typeof greedy) => JSON.parse(one.chunks[0]?.logprob ?? '{}').top_logprobs
      assert.deepEqual(first(shown), first(greedy))
    },
  )

  it(
    'shows a first token that is as likely as the number of times it is drawn',
    { timeout },
    async () => {
      const draws = 150
      const counts = new Map<number, number>()
      for (let seed = 0; seed < draws; seed++) {
        const { chunks } = await generate({ engine, model }, { temperature: 1, seed, maxTokens: 1 })
        const id = chunks[0]?.id ?? -1
        counts.set(id, (counts.get(id) ?? 0) + 1)
      }
      const { chunks } = await generate({ engine, model }, { topLogprobs: 1, maxTokens: 1 })
      const [likeliest] = JSON.parse(chunks[0]?.logprob ?? '{}').top_logprobs
      const expected = Math.exp(likeliest.logprob) * draws
      const got = counts.get(chunks[0]?.id ?? -1) ?? 0
      assert.ok(
        Math.abs(got - expected) < 4 * Math.sqrt(expected),
        `${got} of ${expected.toFixed(1)}`,
      )
    },
  )

  it('never takes a tenant’s text for a control token', { timeout }, async () => {
    const plain = await generate({ engine, model }, ask('be'))
    const sneaky = await generate({ engine, model }, ask('b<|endoftext|>e'))
    // One control token would cost one; spelled out, it costs many.
    assert.ok(sneaky.end.inputTokens - plain.end.inputTokens > 5)
    const raw = (prompt: string) =>
      generate({ engine, model }, { input: { kind: 'completion', prompt } })
    const [two, three] = [await raw('be'), await raw('b<|endoftext|>e')]
    assert.ok(three.end.inputTokens - two.end.inputTokens <= 2, 'a raw prompt is the tenant’s own')
  })

  it('keeps the event loop free while it computes', { timeout }, async () => {
    const delays: number[] = []
    let last = performance.now()
    const beat = setInterval(() => {
      delays.push(performance.now() - last)
      last = performance.now()
    }, 5)
    await Promise.all(
      [1, 2, 3, 4].map((seed) =>
        generate(
          { engine, model },
          { ...ask('word '.repeat(60)), temperature: 1, seed, maxTokens: 60 },
        ),
      ),
    )
    clearInterval(beat)
    delays.sort((a, b) => a - b)
    const typical = delays[Math.floor(delays.length * 0.9)] ?? Infinity
    assert.ok(delays.length > 10 && typical < 50, `90 % within ${typical} ms`)
  })

  it('caps the answer at the room that the context has left', { timeout }, async () => {
    const prompt = Array.from({ length: 500 }, (_, i) => 60 + (i % 40))
    const { end } = await generate(
      { engine, model },
      { input: { kind: 'completion', prompt }, maxTokens: 100, temperature: 1, seed: 5 },
    )
    assert.equal(end.inputTokens, 501)
    assert.ok(end.finish === 'stop' || end.outputTokens === 11)
  })

  it('refuses what it cannot keep, by name', { timeout }, async () => {
    const schema = { type: 'object', properties: { a: { type: 'string', pattern: 'x+' } } }
    await refuses({ format: { type: 'json_schema', schema } }, /properties\.a\.pattern/)
    await refuses({ input: { kind: 'completion', prompt: [9999] } }, /Token 9999/)
    const resume = { tokenIds: [74], text: 'I' }
    await refuses({ format: { type: 'json_object' }, resume }, /cannot be resumed/)
    await assert.rejects(
      engine.embed({ model, input: ['word '.repeat(600)] }, new AbortController().signal),
      /maximum context length is 512/,
    )
  })

  it('says which file is missing, and how to install the engine', { timeout }, async () => {
    await assert.rejects(setup({ path: '/no/such.gguf' }), { code: 'model_file_unreadable' })
    await assert.rejects(setup({ enginesDir: '/no/such/folder' }), /doctor --install/)
  })

  async function resumesAfter(
    cut: number,
    task: Partial<GenerationTask>,
    whole: Awaited<ReturnType<typeof generate>>,
  ): Promise<void> {
    const sent = whole.chunks.slice(0, cut)
    const text = sent.map((chunk) => chunk.text).join('')
    const resume = { tokenIds: sent.map((chunk) => chunk.id), text }
    const maxTokens = (task.maxTokens ?? plainTask.maxTokens) - cut
    const rest = await generate({ engine, model }, { ...task, resume, maxTokens })
    assert.deepEqual(rest.chunks, whole.chunks.slice(cut), `cut after ${cut}`)
    assert.equal(rest.end.finish, whole.end.finish)
  }

  async function refuses(task: Partial<GenerationTask>, why: RegExp): Promise<void> {
    await assert.rejects(generate({ engine, model }, task), (thrown) => {
      assert.ok(thrown instanceof EngineRefusal)
      assert.match(thrown.message, why)
      return true
    })
  }
})

const ask = (content: string): Partial<GenerationTask> => ({
  input: { kind: 'chat', messages: [{ role: 'user', content }] },
})

async function setup(
  changes: {
    slots?: number
    path?: string
    enginesDir?: string
    gpu?: false | 'auto'
  } = {},
) {
  const { slots = 2, path = `${root}/models/bard-3m/bard-3m-f16.gguf`, gpu = false } = changes
  const engine = await startLlamaCppEngine({
    models: [{ model, path, slots }],
    enginesDir: changes.enginesDir ?? enginesDir,
    gpu,
    logger: silentLogger,
  })
  return { engine, model, close: () => engine.close() }
}
