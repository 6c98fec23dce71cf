/**
 * A fake engine for a live fleet: what it says follows from the prompt alone, at a set pace, so that a text that
 * several nodes made can be checked to the byte by whoever knows the prompt.
 */
import type { TokenChunk } from '../../../src/core/protocol/token-chunk.ts'
import { Fault } from '../../../src/core/base/refusal.ts'
import type {
  Engine,
  EngineModel,
  GenerationEnd,
  GenerationTask,
} from '../../../src/io/engine/engine.ts'

export type FleetEngineSettings = {
  /** Between two tokens. */
  readonly paceMs: number
  readonly slots: number
}

/** What a fake node can be told while it runs. */
export type FleetFault = {
  /** So many times slower. */
  readonly slower?: number
  /** The share of answers that are garbage, 0 to 1. */
  readonly garbage?: number
}

export const FLEET_MODEL = 'fleet'
const CONTEXT_TOKENS = 8_192

const modelOf = ({ slots }: FleetEngineSettings): EngineModel => ({
  model: FLEET_MODEL,
  digest: `sha256:${'fa'.repeat(32)}`,
  engine: 'fake-fleet/1',
  quantization: null,
  contextTokens: CONTEXT_TOKENS,
  slots,
  capabilities: ['chat', 'completion', 'token_ids', 'seed', 'resume_ids', 'stop'],
})

/** The token at this position of the answer to the prompt. */
export function fleetToken(prompt: string, position: number): TokenChunk {
  let hash = 2_166_136_261 ^ position
  for (let i = 0; i < prompt.length; i++) hash = Math.imul(hash ^ prompt.charCodeAt(i), 16_777_619)
  const id = ((hash >>> 0) ^ ((hash >>> 0) >>> 16)) & 0xffff
  return { id, text: `${id.toString(36)} `, logprob: '' }
}

export const fleetText = (prompt: string, tokens: number): string =>
  Array.from({ length: tokens }, (_, i) => fleetToken(prompt, i).text).join('')

export function createFleetEngine(
  settings: FleetEngineSettings,
): Engine & { fault: FleetFault; readonly running: () => number } {
  const model = modelOf(settings)
  const waiting: (() => void)[] = []
  let running = 0
  const engine = {
    fault: {} as FleetFault,
    running: () => running,
    models: () => [model],
    load: () => ({ free: Math.max(0, settings.slots - running), queued: waiting.length }),
    async *generate(
      task: GenerationTask,
      signal: AbortSignal,
    ): AsyncGenerator<TokenChunk[], GenerationEnd, void> {
      // As real engines: a short queue, and `busy` beyond it.
      if (running >= settings.slots && waiting.length >= settings.slots)
        throw new Fault('busy', 'all slots and the queue are full', { retryable: true })
      if (running >= settings.slots) await new Promise<void>((resolve) => waiting.push(resolve))
      running += 1
      try {
        return yield* say(task, signal, settings.paceMs, engine)
      } finally {
        running -= 1
        waiting.shift()?.()
      }
    },
    embed: () => Promise.reject(new Error('the fleet has no vectors')),
    close: () => Promise.resolve(),
  }
  return engine
}

async function* say(
  task: GenerationTask,
  signal: AbortSignal,
  paceMs: number,
  engine: { readonly fault: FleetFault },
): AsyncGenerator<TokenChunk[], GenerationEnd, void> {
  const prompt = promptOf(task)
  const begin = task.resume?.tokenIds.length ?? 0
  const inputTokens = prompt.split(' ').length
  const garbage = Math.random() < (engine.fault.garbage ?? 0)
  const startedAt = performance.now()
  let dueMs = 0
  for (let i = 0; i < task.maxTokens; i++) {
    dueMs += paceMs * (engine.fault.slower ?? 1)
    const waitMs = dueMs - (performance.now() - startedAt)
    if (waitMs > 0) await pause(waitMs, signal)
    if (signal.aborted) return { finish: 'cancelled', inputTokens, outputTokens: i }
    const token = fleetToken(garbage ? `not ${prompt}` : prompt, begin + i)
    yield [token]
  }
  return { finish: 'length', inputTokens, outputTokens: task.maxTokens }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}

function promptOf({ input }: GenerationTask): string {
  if (input.kind === 'completion') return String(input.prompt)
  const content = input.messages.at(-1)?.content
  return typeof content === 'string' ? content : JSON.stringify(content)
}
