/** An engine for the node's tests: it knows twelve words and says them in order, wherever it is resumed. */
import { refuse } from '../../core/base/refusal.ts'
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import { EngineRefusal } from '../../io/engine/engine-refusal.ts'
import type { Engine, EngineModel, GenerationEnd, GenerationTask } from '../../io/engine/engine.ts'

export const WORDS = 'the base load is what people can always count on today'.split(' ')

export const fakeModel: EngineModel = {
  model: 'words',
  digest: `sha256:${'ab'.repeat(32)}`,
  engine: 'fake/1',
  quantization: null,
  contextTokens: 256,
  slots: 4,
  capabilities: ['chat', 'completion', 'embedding', 'token_ids', 'seed', 'resume_ids', 'stop'],
}

export type FakeEngine = Engine & {
  /** Every task that was asked for. */
  readonly tasks: GenerationTask[]
  served: readonly EngineModel[]
  /** Awaited before each token: hold it to keep an answer running. */
  pace: (position: number, signal: AbortSignal) => Promise<void> | void
  /** Thrown before the token at this position of the attempt. */
  fault: { readonly at: number; readonly error: Error } | null
  closed: boolean
}

/** A word is a token: longer inputs than the context are refused, everything else is answered. */
export function createFakeEngine(): FakeEngine {
  let running = 0
  const engine: FakeEngine = {
    tasks: [],
    served: [fakeModel],
    pace: () => {},
    fault: null,
    closed: false,
    models: () => engine.served,
    load: () => ({
      free: Math.max(0, fakeModel.slots - running),
      queued: Math.max(0, running - fakeModel.slots),
    }),
    async *generate(task, signal): AsyncGenerator<TokenChunk[], GenerationEnd, void> {
      engine.tasks.push(task)
      const inputTokens = inputTokensOf(task)
      const begin = task.resume?.tokenIds.length ?? 0
      const wanted = Math.min(WORDS.length - begin, task.maxTokens)
      running += 1
      try {
        for (let i = 0; i < wanted; i++) {
          await engine.pace(i, signal)
          if (engine.fault?.at === i) throw engine.fault.error
          if (signal.aborted) return { finish: 'cancelled', inputTokens, outputTokens: i }
          yield [{ id: begin + i, text: `${WORDS[begin + i]} `, logprob: '' }]
        }
        if (engine.fault && engine.fault.at >= wanted) throw engine.fault.error
        const finish = begin + wanted === WORDS.length ? 'stop' : 'length'
        return { finish, inputTokens, outputTokens: wanted }
      } finally {
        running -= 1
      }
    },
    async embed({ input }, signal) {
      await engine.pace(0, signal)
      if (engine.fault) throw engine.fault.error
      const vectors = input.map((text, i) => Float32Array.of(text.length, i, 0.5))
      return { vectors, inputTokens: input.length }
    },
    close: async () => {
      engine.closed = true
    },
  }
  return engine
}

function inputTokensOf({ input }: GenerationTask): number {
  const text =
    input.kind === 'chat' ? input.messages.map((one) => one.content).join(' ') : input.prompt
  const tokens = typeof text === 'string' ? text.split(' ').length : text.length
  const { contextTokens } = fakeModel
  if (tokens <= contextTokens) return tokens
  throw new EngineRefusal(
    refuse(
      'context_length_exceeded',
      `This model's maximum context length is ${contextTokens} tokens, and the prompt has ${tokens}. Shorten it.`,
      { param: input.kind === 'chat' ? 'messages' : 'prompt' },
    ),
  )
}
