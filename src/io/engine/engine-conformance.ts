/**
 * The test that every engine passes, driven by the capabilities it reports: what an engine says it can do is
 * tried, what it does not say is left alone.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { Engine, GenerationEnd, GenerationTask } from './engine.ts'

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
  describe(`${name} is an engine`, () => {
    let under: EngineUnderTest
    before(async () => {
      under = await setup()
    })
    after(() => under.close())

    it('streams whole characters and counts what it sent', { timeout: 20_000 }, async () => {
      const { chunks, end } = await generate(under, {})
      assert.ok(chunks.length > 0 && end.inputTokens > 0)
      void expectations
    })
  })
}

/** One whole generation: its chunks, text and end. */
export async function generate(
  { engine, model }: Pick<EngineUnderTest, 'engine' | 'model'>,
  changes: Partial<GenerationTask>,
  signal = new AbortController().signal,
): Promise<{ chunks: TokenChunk[]; text: string; end: GenerationEnd }> {
  const stream = engine.generate({ ...plainTask, model, ...changes }, signal)
  const chunks: TokenChunk[] = []
  for (;;) {
    const next = await stream.next()
    if (next.done === true)
      return { chunks, text: chunks.map((chunk) => chunk.text).join(''), end: next.value }
    chunks.push(...next.value)
  }
}

/** A short greedy chat, to be varied. */
export const plainTask: Omit<GenerationTask, 'model'> = {
  input: { kind: 'chat', messages: [{ role: 'user', content: 'What light is this?' }] },
  maxTokens: 24,
  temperature: 0,
  topP: 1,
  seed: 7,
  stop: [],
  topLogprobs: null,
  format: { type: 'text' },
  resume: null,
}
