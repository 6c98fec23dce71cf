/**
 * The test that every engine passes, driven by the capabilities it reports: what an engine says it can do is
 * tried, what it does not say is left alone. An engine's own test pins which capabilities those are.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Fault, type RefusalCode } from '../../core/base/refusal.ts'
import type { Capability } from '../../core/protocol/offer.ts'
import { NO_TOKEN_ID, type TokenChunk } from '../../core/protocol/token-chunk.ts'
import { EngineRefusal } from './engine-refusal.ts'
import type { Engine, EngineModel, GenerationEnd, GenerationTask } from './engine.ts'

export type EngineUnderTest = {
  readonly engine: Engine
  readonly model: string
  readonly close: () => Promise<void>
}

export type EngineExpectations = {
  /** The engine itself bounds its queue and throws Fault 'busy' beyond it. */
  readonly boundedQueue: boolean
  /** The engine counts prompt tokens and refuses a prompt that exceeds `contextTokens`. */
  readonly countsContext: boolean
}

export function describeEngine(
  name: string,
  setup: () => Promise<EngineUnderTest>,
  expectations: EngineExpectations,
): void {
  void describe(`${name} is an engine that`, () => {
    let under: EngineUnderTest
    before(async () => {
      under = await setup()
    })
    after(() => under.close())
    for (const { title, needs = [], test } of [...CHECKS, ...checksFor(expectations)]) {
      void it(title, { timeout: 20_000 }, async () => {
        const model = described(under)
        if (needs.every((one) => model.capabilities.includes(one))) await test(under, model)
      })
    }
  })
}

type Check = {
  readonly title: string
  readonly needs?: readonly Capability[]
  readonly test: (under: EngineUnderTest, model: EngineModel) => Promise<void>
}

const CHECKS: readonly Check[] = [
  {
    title: 'says what it serves, all slots free',
    async test({ engine }, { model, digest, slots, contextTokens, capabilities }) {
      assert.match(digest, /^(sha256:[0-9a-f]{64}|name:.+)$/)
      assert.ok(slots > 0 && contextTokens > 0 && capabilities.length > 0)
      assert.equal(new Set(capabilities).size, capabilities.length)
      assert.deepEqual(engine.load(model), { free: slots, queued: 0 })
    },
  },
  {
    title: 'streams, and counts what it sent',
    needs: ['chat'],
    async test(under, { capabilities }) {
      const { chunks, text, end } = await generate(under, {})
      assert.ok(chunks.length > 1 && text.length > 0 && end.inputTokens > 0)
      assert.ok(chunks.every((chunk) => chunk.logprob === ''))
      const known = chunks.filter((chunk) => chunk.id !== NO_TOKEN_ID)
      assert.equal(known.length, capabilities.includes('token_ids') ? end.outputTokens : 0)
    },
  },
  {
    title: 'takes a raw prompt',
    needs: ['completion'],
    async test(under) {
      const input = { kind: 'completion', prompt: 'Once upon a time' } as const
      assert.ok((await generate(under, { input })).text.length > 0)
    },
  },
  {
    title: 'takes a developer for a system message',
    needs: ['chat'],
    async test(under) {
      const say = (role: 'developer' | 'system') =>
        generate(under, {
          input: {
            kind: 'chat',
            messages: [{ role, content: 'Speak plainly.' }, ...plainMessages],
          },
        })
      const [one, other] = [await say('developer'), await say('system')]
      assert.equal(one.end.inputTokens, other.end.inputTokens)
    },
  },
  {
    title: 'stops at the most tokens it may produce',
    needs: ['chat'],
    async test(under) {
      const { end } = await generate(under, { maxTokens: 3 })
      assert.equal(end.finish, 'length')
      assert.equal(end.outputTokens, 3)
    },
  },
  {
    title: 'ends the text before a stop sequence',
    needs: ['chat', 'stop'],
    async test(under) {
      const { text } = await generate(under, {})
      const stop = text.slice(5, 9)
      const cut = await generate(under, { stop: ['never said', stop] })
      assert.equal(cut.text, text.slice(0, text.indexOf(stop)))
      assert.equal(cut.end.finish, 'stop')
    },
  },
  {
    title: 'gives the same text for the same seed, and others for others',
    needs: ['chat', 'seed'],
    async test(under) {
      const texts = []
      for (const seed of [1, 1, 2, 3, 4])
        texts.push((await generate(under, { temperature: 1, seed })).text)
      assert.equal(texts[0], texts[1])
      assert.ok(new Set(texts).size > 1, 'five seeds, one text')
    },
  },
  {
    title: 'reports log probabilities as OpenAI does',
    needs: ['chat', 'logprobs'],
    async test(under) {
      const { chunks, text } = await generate(under, { topLogprobs: 3, maxTokens: 8 })
      const entries = chunks.filter((chunk) => chunk.logprob !== '').map(readLogprob)
      assert.ok(entries.length > 0)
      for (const entry of entries) assertLikely(entry, 3)
      assert.ok(
        entries
          .map((entry) => entry.token)
          .join('')
          .startsWith(text.trimEnd()),
      )
      const none = await generate(under, { topLogprobs: 0, maxTokens: 2 })
      const [first] = none.chunks.filter((chunk) => chunk.logprob !== '').map(readLogprob)
      assert.deepEqual(first?.top_logprobs, [])
    },
  },
  {
    title: 'writes JSON that follows a schema',
    needs: ['chat', 'json_schema'],
    async test(under) {
      const { text, end } = await generate(under, {
        format: { type: 'json_schema', schema: personSchema },
        maxTokens: 120,
      })
      assert.equal(end.finish, 'stop', `after ${text}`)
      const person = JSON.parse(text)
      assert.deepEqual(Object.keys(person).toSorted(), ['mood', 'name'])
      assert.ok(typeof person.name === 'string' && ['glad', 'sad'].includes(person.mood))
    },
  },
  {
    title: 'writes nothing but a JSON object when asked for one',
    needs: ['chat', 'json_object'],
    async test(under) {
      const { text } = await generate(under, { format: { type: 'json_object' }, maxTokens: 16 })
      assert.match(text, /^\s*\{/)
    },
  },
  {
    title: 'goes on after given tokens as if it had never stopped',
    needs: ['chat', 'resume_ids'],
    async test(under) {
      const whole = await generate(under, {})
      for (let cut = 1; cut < whole.chunks.length; cut += 5) {
        const sent = whole.chunks.slice(0, cut)
        const resume = { tokenIds: sent.map((chunk) => chunk.id), text: textOf(sent) }
        const maxTokens = plainTask.maxTokens - cut
        const rest = await generate(under, { resume, maxTokens })
        assert.equal(resume.text + rest.text, whole.text, `cut after ${cut}`)
        assert.equal(rest.end.inputTokens, whole.end.inputTokens)
        assert.equal(rest.end.outputTokens, whole.end.outputTokens - cut)
      }
    },
  },
  {
    title: 'goes on after given text',
    needs: ['chat', 'resume_text'],
    async test(under) {
      const whole = await generate(under, {})
      const resume = { tokenIds: [], text: whole.text.slice(0, whole.text.length >> 1) }
      const rest = await generate(under, { resume })
      assert.ok(rest.text.length > 0)
      assert.ok(!rest.text.startsWith(resume.text), 'the given text came again')
    },
  },
  {
    title: 'makes vectors of length one, the same for the same text',
    needs: ['embedding'],
    async test({ engine, model }) {
      const input = ['The king is dead.', 'What light is this?', 'The king is dead.']
      const { vectors, inputTokens } = await engine.embed({ model, input }, never())
      const [one, other, again] = vectors
      assert.ok(one && other && inputTokens > 0)
      for (const vector of vectors) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4)
      assert.deepEqual(one, again)
      assert.notDeepEqual(one, other)
    },
  },
  {
    title: 'ends as cancelled when it is cancelled already',
    needs: ['chat'],
    async test(under) {
      const { chunks, end } = await generate(under, {}, AbortSignal.abort())
      assert.deepEqual([chunks.length, end.finish], [0, 'cancelled'])
    },
  },
  {
    title: 'frees a cancelled slot at once, also when nobody takes the next token',
    needs: ['chat'],
    async test(under, { slots }) {
      const running = await Promise.all(
        Array.from({ length: slots }, () => begin(under, { maxTokens: 400, temperature: 1 })),
      )
      assert.equal(under.engine.load(under.model).free, 0)
      running[0]?.abort.abort()
      const served = await generate(under, { maxTokens: 2 })
      assert.equal(served.end.outputTokens, 2)
      for (const { abort } of running) abort.abort()
      for (const { stream } of running) assert.equal((await endOf(stream)).finish, 'cancelled')
      await allFree(under, slots)
    },
  },
  {
    title: 'names the model that it does not serve',
    async test({ engine }) {
      const stranger = { engine, model: 'no-such-model' }
      await assert.rejects(generate(stranger, {}), refusedAs('model_not_found'))
    },
  },
]

function checksFor({ boundedQueue, countsContext }: EngineExpectations): readonly Check[] {
  return [...(boundedQueue ? [BOUNDED_QUEUE] : []), ...(countsContext ? [COUNTS_CONTEXT] : [])]
}

const BOUNDED_QUEUE: Check = {
  title: 'serves the queue in turn, and says busy beyond it',
  needs: ['chat'],
  async test(under, { slots }) {
    const running = await Promise.all(
      Array.from({ length: slots }, () => begin(under, { maxTokens: 400, temperature: 1 })),
    )
    const waiting = Array.from({ length: slots * 8 + 8 }, () => generate(under, { maxTokens: 1 }))
    const thrown: unknown = await Promise.race(waiting).catch((error: unknown) => error)
    assert.ok(thrown instanceof Fault && thrown.code === 'busy' && thrown.retryable, String(thrown))
    const { queued } = under.engine.load(under.model)
    for (const { abort } of running) abort.abort()
    const results = await Promise.allSettled(waiting)
    assert.ok(queued > 0)
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, queued)
    for (const { stream } of running) await endOf(stream)
    await allFree(under, slots)
  },
}

const COUNTS_CONTEXT: Check = {
  title: 'refuses a prompt that is longer than its context, with the numbers',
  needs: ['chat'],
  async test(under, { contextTokens }) {
    const content = 'zq '.repeat(contextTokens)
    const long = { input: { kind: 'chat', messages: [{ role: 'user', content }] } } as const
    await assert.rejects(generate(under, long), (thrown) => {
      assert.ok(refusedAs('context_length_exceeded')(thrown))
      assert.match(String(thrown), new RegExp(String(contextTokens)))
      return true
    })
  },
}

/** One whole generation: its chunks, text and end. */
export async function generate(
  { engine, model }: Pick<EngineUnderTest, 'engine' | 'model'>,
  changes: Partial<GenerationTask>,
  signal: AbortSignal = never(),
): Promise<{ chunks: TokenChunk[]; text: string; end: GenerationEnd }> {
  const stream = engine.generate({ ...plainTask, model, ...changes }, signal)
  const chunks: TokenChunk[] = []
  for (;;) {
    const next = await stream.next()
    if (next.done === true) return { chunks, text: textOf(chunks), end: next.value }
    chunks.push(...next.value)
  }
}

const plainMessages = [{ role: 'user', content: 'What light is this?' }] as const

/** A short greedy chat, to be varied. */
export const plainTask: Omit<GenerationTask, 'model'> = {
  input: { kind: 'chat', messages: plainMessages },
  maxTokens: 24,
  temperature: 0,
  topP: 1,
  seed: 7,
  stop: [],
  topLogprobs: null,
  format: { type: 'text' },
  resume: null,
}

const personSchema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 8 }, mood: { enum: ['glad', 'sad'] } },
  required: ['name', 'mood'],
  additionalProperties: false,
} as const

const textOf = (chunks: readonly TokenChunk[]): string => chunks.map((chunk) => chunk.text).join('')

const never = (): AbortSignal => new AbortController().signal

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function described({ engine, model }: EngineUnderTest): EngineModel {
  const found = engine.models().find((one) => one.model === model)
  assert.ok(found, `${model} is served`)
  return found
}

/** A generation that has its slot and its first token. */
async function begin({ engine, model }: EngineUnderTest, changes: Partial<GenerationTask>) {
  const abort = new AbortController()
  const stream = engine.generate({ ...plainTask, model, ...changes }, abort.signal)
  await stream.next()
  return { stream, abort }
}

async function endOf(stream: ReturnType<Engine['generate']>): Promise<GenerationEnd> {
  for (;;) {
    const next = await stream.next()
    if (next.done === true) return next.value
  }
}

/** Slots are given back when their generations end; over HTTP that may take a few turns. */
async function allFree({ engine, model }: EngineUnderTest, slots: number): Promise<void> {
  for (let turns = 0; turns < 10_000 && engine.load(model).free < slots; turns++) await nextTurn()
  assert.deepEqual(engine.load(model), { free: slots, queued: 0 })
}

const refusedAs =
  (code: RefusalCode) =>
  (thrown: unknown): boolean =>
    thrown instanceof EngineRefusal && thrown.refusal.code === code

type Logprob = { token: string; logprob: number; bytes: number[] | null }
type LogprobEntry = Logprob & { top_logprobs: Logprob[] }

const readLogprob = (chunk: TokenChunk): LogprobEntry => JSON.parse(chunk.logprob)

/** Greedy: the chosen token is the likeliest, and what is shown cannot be likelier than certain. */
function assertLikely(entry: LogprobEntry, top: number): void {
  const shown = entry.top_logprobs
  assert.ok(entry.logprob <= 0 && shown.length <= top && shown.length > 0)
  assert.deepEqual([shown[0]?.token, shown[0]?.logprob], [entry.token, entry.logprob])
  if (entry.bytes !== null)
    assert.equal(new TextDecoder().decode(Uint8Array.from(entry.bytes)), entry.token)
  const sum = shown.reduce((total, { logprob }) => total + Math.exp(logprob), 0)
  assert.ok(sum < 1.001, `probabilities add up to ${sum}`)
  const order = shown.map(({ logprob }) => logprob)
  assert.deepEqual(
    order,
    order.toSorted((a, b) => b - a),
  )
}
