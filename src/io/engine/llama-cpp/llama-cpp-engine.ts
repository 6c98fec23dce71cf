/** llama.cpp in this process: models from GGUF files, computed off the event loop. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { refuse } from '../../../core/base/refusal.ts'
import type { TokenChunk } from '../../../core/protocol/token-chunk.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import type {
  EmbeddingResult,
  EmbeddingTask,
  Engine,
  GenerationEnd,
  GenerationTask,
} from '../engine.ts'
import { fileDigest } from './digest.ts'
import { embedOn } from './embedding.ts'
import { endedAlready, engineFault, generateOn, planGeneration } from './generation.ts'
import { llamaCppFolder } from './install.ts'
import { loadLlamaLibrary } from './llama-binding.ts'
import { loadModel, type LoadedModel, type ModelToLoad } from './loaded-model.ts'

export type LlamaCppOptions = {
  readonly models: readonly ModelToLoad[]
  /**
   * Threads that compute, for each model. Default 1: on cores that others use too, threads that wait for each
   * other at every layer made generation thirty times slower. Give a node that owns its cores their number.
   */
  readonly threads?: number
  /** Where `installLlamaCpp` put the engine; also remembers the digests of model files. */
  readonly enginesDir: string
  /**
   * False: the processor alone, one step at a time, so that the same request gives the same bits whatever runs
   * beside it, and a resumed text equals the uninterrupted one. 'auto': the GPU whose backend is installed;
   * slots are batched together, and rounding may differ.
   */
  readonly gpu: false | 'auto'
  readonly logger: Logger
}

/** Loads the models and proves what they can do. Throws a Fault that says how to install what is missing. */
export async function startLlamaCppEngine(options: LlamaCppOptions): Promise<Engine> {
  const { enginesDir, gpu, threads = 1, logger: log } = options
  const wanted = await withDigests(options.models, join(enginesDir, 'digests.json'))
  const folder = await engineFolder(enginesDir, gpu)
  const { llama: library, jinja } = await loadLlamaLibrary(folder)
  const llama = await library.getLlama({
    build: 'never',
    skipDownload: true,
    gpu: gpu === false && process.platform === 'darwin' && process.arch === 'arm64' ? 'metal' : gpu,
    logLevel: 'warn',
    logger: (level, message) =>
      log[level === 'error' || level === 'fatal' ? 'warn' : 'debug'](message.trim(), {
        from: 'llama.cpp',
      }),
  })
  const loaded = new Map<string, LoadedModel>()
  const close = async () => {
    await Promise.all([...loaded.values()].map((model) => model.close()))
    await llama.dispose()
  }
  const machine = { library, jinja, llama, threads, exact: gpu === false, log }
  try {
    for (const model of wanted) loaded.set(model.model, await loadModel(model, machine))
  } catch (error) {
    await close()
    throw engineFault(error)
  }
  return engineOf(loaded, close)
}

function engineOf(loaded: ReadonlyMap<string, LoadedModel>, close: () => Promise<void>): Engine {
  const find = (model: string): LoadedModel => {
    const found = loaded.get(model)
    if (found) return found
    throw new EngineRefusal(
      refuse('model_not_found', `This node does not serve '${model}'.`, { param: 'model' }),
    )
  }
  let closing: Promise<void> | null = null
  return {
    models: () => [...loaded.values()].map((model) => model.described),
    load: (model) => loaded.get(model)?.slots.load() ?? { free: 0, queued: 0 },
    generate: (task, signal) => generate(find, task, signal),
    embed: (task, signal) => embed(find, task, signal),
    close: () => (closing ??= close()),
  }
}

async function* generate(
  find: (model: string) => LoadedModel,
  task: GenerationTask,
  signal: AbortSignal,
): AsyncGenerator<TokenChunk[], GenerationEnd, void> {
  const loaded = find(task.model)
  try {
    const plan = await planGeneration(loaded, task)
    const ended = endedAlready(loaded, plan)
    if (ended) return ended
    const cancelled: GenerationEnd = {
      finish: 'cancelled',
      inputTokens: plan.prompt.length,
      outputTokens: 0,
    }
    const lease = await loaded.slots.acquire(signal)
    if (lease === null) return cancelled
    // A consumer that aborts may never come back for the next token: then no step runs, and the slot is freed here.
    let waiting = false
    const onAbort = () => {
      if (waiting) lease.release()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const tokens = generateOn(lease.slot, loaded, plan, signal)
    try {
      for (;;) {
        const next = await tokens.next()
        if (next.done === true) return next.value
        waiting = true
        yield [next.value]
        waiting = false
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      lease.release()
    }
  } catch (error) {
    throw engineFault(error)
  }
}

async function embed(
  find: (model: string) => LoadedModel,
  task: EmbeddingTask,
  signal: AbortSignal,
): Promise<EmbeddingResult> {
  const loaded = find(task.model)
  try {
    return await embedOn(loaded, task, signal)
  } catch (error) {
    throw signal.aborted ? error : engineFault(error)
  }
}

/** First of all, because a missing file should be said at once. */
async function withDigests(models: readonly ModelToLoad[], memory: string) {
  const known = []
  for (const model of models) known.push({ ...model, digest: await fileDigest(model.path, memory) })
  return known
}

/** The folder of the GPU backend that is installed, or of the processor's. */
async function engineFolder(enginesDir: string, gpu: false | 'auto'): Promise<string> {
  for (const backend of gpu === 'auto' ? (['cuda', 'vulkan', 'metal'] as const) : []) {
    const folder = llamaCppFolder(enginesDir, backend)
    if (
      await access(folder).then(
        () => true,
        () => false,
      )
    )
      return folder
  }
  return llamaCppFolder(enginesDir)
}
