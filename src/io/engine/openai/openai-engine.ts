/**
 * Models behind any OpenAI-compatible server: vLLM, SGLang, Ollama, llama-server, LM Studio, or another
 * Baseload gateway, so that networks compose. Start-up probes what each model can do (`probe-model.ts`);
 * a task then is one streamed request (`ask.ts` words it, `answer-stream.ts` reads it).
 */
import { Fault, refuse } from '../../../core/base/refusal.ts'
import { invalid } from '../../../core/protocol/read-fields.ts'
import type { TokenChunk } from '../../../core/protocol/token-chunk.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type {
  EmbeddingResult,
  EmbeddingTask,
  Engine,
  EngineModel,
  GenerationEnd,
  GenerationTask,
} from '../engine.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import type { AnswerChunk } from './answer-chunk.ts'
import { streamAnswer, UpstreamSaidNo, type Ask, type Patience } from './answer-stream.ts'
import { askFor, type Found } from './ask.ts'
import { readEmbeddings } from './embeddings.ts'
import { modelFacts } from './model-facts.ts'
import { probeModel } from './probe-model.ts'
import { Slots } from './slots.ts'
import { identifySoftware, listModels, softwareText, type ListedModel } from './software.ts'
import { roomLeft, upstreamError } from './upstream-error.ts'
import { Tally } from './tally.ts'
import { connectUpstream, within, type Upstream } from './upstream.ts'

export type OpenAiEngineOptions = {
  /** `http://127.0.0.1:8000/v1` */
  readonly upstream: string
  readonly apiKey: string | null
  /** Only these; left out: all that the upstream lists. Probing loads each one, which may take its time. */
  readonly models?: readonly string[]
  /** Attempts at the same time over all models: they share the upstream's hardware. */
  readonly slots: number
  /** Overrules what the upstream tells, if it tells anything. */
  readonly contextTokens?: number
  readonly logger: Logger
  readonly signal?: AbortSignal
  /** How long to wait for what; the defaults suit large models on slow disks. */
  readonly waits?: Partial<Waits>
}

type Waits = Patience & { readonly loadMs: number; readonly tryMs: number }

const WAITS: Waits = { firstByteMs: 180_000, stallMs: 60_000, loadMs: 180_000, tryMs: 30_000 }

/** What servers assume when they do not say. */
const UNTOLD_CONTEXT_TOKENS = 4096
/** An offer holds no more. */
const MAX_MODELS = 64
/** What an offer and a URL can carry. */
const MODEL_NAME = /^[\w.:/@+-]{1,200}$/

/** Resolves when every model is probed. Throws a Fault when the upstream is not there or serves nothing. */
export async function startOpenAiEngine(options: OpenAiEngineOptions): Promise<Engine> {
  const upstream = connectUpstream(options)
  try {
    const waits = { ...WAITS, ...options.waits }
    const served = await probeAll(upstream, options, waits)
    if (served.length === 0)
      throw new Fault(
        'upstream_no_models',
        `${upstream.name} lists no model that answers; load one there, or see the log for each one's reason`,
      )
    return new OpenAiEngine(upstream, served, options.slots, waits)
  } catch (error) {
    upstream.close()
    throw error
  }
}

type Served = { readonly offered: EngineModel; readonly found: Found }

async function probeAll(
  upstream: Upstream,
  options: OpenAiEngineOptions,
  waits: Waits,
): Promise<Served[]> {
  const { logger } = options
  const signal = options.signal ?? new AbortController().signal
  const { listed, software } = await within(waits.tryMs, signal, async (bounded) => {
    const list = await listModels(upstream, bounded)
    return { listed: list, software: await identifySoftware(upstream, list, bounded) }
  })
  logger.info('upstream found', { upstream: upstream.name, software: softwareText(software) })
  const served: Served[] = []
  for (const model of choose(listed.models, options, upstream.name)) {
    const probe = { upstream, model: model.id, software: software.name, logger, signal, ...waits }
    const found = await probeModel(probe)
    if (found.capabilities.length === 0) {
      logger.warn('model left out: it does nothing here', { model: model.id })
      continue
    }
    const facts = await modelFacts(upstream, software, model, signal)
    const contextTokens = options.contextTokens ?? facts.contextTokens ?? UNTOLD_CONTEXT_TOKENS
    const { digest, quantization } = facts
    const { capabilities } = found
    const offered = { model: model.id, digest, engine: softwareText(software), quantization }
    served.push({
      found,
      offered: { ...offered, contextTokens, slots: options.slots, capabilities },
    })
  }
  return served
}

function choose(
  listed: readonly ListedModel[],
  { models, logger }: OpenAiEngineOptions,
  where: string,
): ListedModel[] {
  const missing = models?.find((name) => !listed.some((model) => model.id === name))
  if (missing !== undefined) {
    const names = listed.map((model) => model.id).join(', ')
    throw new Fault(
      'upstream_model_missing',
      `${where} does not serve ${missing}; it has: ${names}`,
    )
  }
  const wanted = listed.filter((model) => models?.includes(model.id) ?? true)
  const usable = wanted.filter((model) => MODEL_NAME.test(model.id)).slice(0, MAX_MODELS)
  if (usable.length < wanted.length)
    logger.warn('models left out: a strange name, or too many', {
      models: wanted.filter((model) => !usable.includes(model)).map((model) => model.id),
    })
  return usable
}

class OpenAiEngine implements Engine {
  readonly #upstream: Upstream
  readonly #served: readonly Served[]
  readonly #slots: Slots
  readonly #patience: Patience

  constructor(upstream: Upstream, served: readonly Served[], slots: number, patience: Patience) {
    this.#upstream = upstream
    this.#served = served
    this.#slots = new Slots(slots, slots)
    this.#patience = patience
  }

  models(): readonly EngineModel[] {
    return this.#served.map((one) => one.offered)
  }

  load() {
    return { free: this.#slots.free, queued: this.#slots.queued }
  }

  async *generate(
    task: GenerationTask,
    signal: AbortSignal,
  ): AsyncGenerator<TokenChunk[], GenerationEnd, void> {
    const ask = askFor(task, this.#find(task.model).found)
    const tally = new Tally(task)
    let release: (() => void) | null = null
    try {
      release = await this.#slots.take(signal)
      // At once, even when nobody asks for the next chunk.
      signal.addEventListener('abort', release, { once: true })
      for await (const some of this.#answer(ask, task, signal)) {
        const chunks = tally.add(some)
        if (chunks.length > 0) yield chunks
        // What the network had already brought is not read on, either.
        signal.throwIfAborted()
        if (tally.overrun) break
      }
      return tally.end()
    } catch (error) {
      if (signal.aborted) return tally.end('cancelled')
      throw error
    } finally {
      if (release) signal.removeEventListener('abort', release)
      release?.()
    }
  }

  async embed(task: EmbeddingTask, signal: AbortSignal): Promise<EmbeddingResult> {
    this.#find(task.model)
    const texts = task.input.filter((one) => typeof one === 'string').length
    if (texts > 0 && texts < task.input.length)
      throw new EngineRefusal(invalid('input', 'all texts or all token ids', task.input))
    const release = await this.#slots.take(signal)
    try {
      const body = { model: task.model, input: task.input, encoding_format: 'float' }
      const answer = await within(this.#patience.firstByteMs, signal, (bounded) =>
        this.#upstream.json('/embeddings', { body, signal: bounded }),
      )
      if (answer.status !== 200) throw upstreamError(answer.status, answer.body)
      return readEmbeddings(answer.body, task.input.length)
    } finally {
      release()
    }
  }

  close(): Promise<void> {
    this.#upstream.close()
    return Promise.resolve()
  }

  #find(name: string): Served {
    const served = this.#served.find((one) => one.offered.model === name)
    if (served) return served
    throw new EngineRefusal(refuse('model_not_found', `This node does not serve '${name}'.`))
  }

  async *#answer(
    ask: Ask,
    task: GenerationTask,
    signal: AbortSignal,
  ): AsyncGenerator<AnswerChunk[], void, void> {
    try {
      yield* streamAnswer(this.#upstream, ask, this.#patience, signal)
    } catch (error) {
      if (!(error instanceof UpstreamSaidNo)) throw error
      const room = error.status === 400 ? roomLeft(error.body) : null
      if (room === null || room >= task.maxTokens)
        throw upstreamError(error.status, error.body, task.resume !== null)
      // The prompt fits, only not with so long an answer: produce what the context still holds.
      const less = { ...ask, body: { ...ask.body, max_tokens: room } }
      yield* this.#answer(less, { ...task, maxTokens: room }, signal)
    }
  }
}
