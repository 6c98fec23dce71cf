/** The engine that the settings name: its files fetched, started, ready to answer. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../core/base/time.ts'
import type { Engine } from '../../io/engine/engine.ts'
import { installLlamaCpp, llamaCppFolder } from '../../io/engine/llama-cpp/install.ts'
import { startLlamaCppEngine } from '../../io/engine/llama-cpp/llama-cpp-engine.ts'
import type { DownloadProgress } from '../../io/engine/model-file/download.ts'
import { obtainModelFile } from '../../io/engine/model-file/obtain-model-file.ts'
import { startOpenAiEngine } from '../../io/engine/openai/openai-engine.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { defaultModelConfig, modelNameOf, type NodeConfig } from './config.ts'

type EngineOptions = {
  readonly logger: Logger
  readonly say: (line: string) => void
  readonly signal?: AbortSignal
}

/** Resolves when every model can answer. Throws a Fault that says what is missing and how to get it. */
export function startEngine(config: NodeConfig, options: EngineOptions): Promise<Engine> {
  switch (config.engine) {
    case 'llama.cpp':
      return serveFiles(config, options)
    case 'openai':
      return sellUpstream(config, options)
  }
}

async function serveFiles(config: NodeConfig, options: EngineOptions): Promise<Engine> {
  const { logger, say, signal = new AbortController().signal } = options
  const enginesDir = config.enginesDir ?? join(config.home, 'engines')
  const folder = config.modelsDir ?? join(config.home, 'models')
  const gpu = config.gpu === 'auto' && GPU_BACKENDS.some((one) => isInstalled(enginesDir, one))
  if (!gpu && !isInstalled(enginesDir, 'cpu'))
    await installLlamaCpp({ enginesDir, backend: 'cpu', say })
  const models = []
  for (const sold of config.models) {
    const { source, contextTokens, slots } = sold
    assert.ok(source !== undefined, 'the settings were checked')
    const model = modelNameOf(sold)
    const progress = sayProgress(model, say)
    const { path } = await obtainModelFile(source, { folder, signal, say, progress })
    models.push({ model, path, slots, ...(contextTokens !== undefined && { contextTokens }) })
  }
  signal.throwIfAborted()
  say(`loading ${models.map(({ model }) => model).join(', ')}`)
  const threads = config.threads ?? Math.max(1, Math.floor(availableParallelism() / 2))
  return startLlamaCppEngine({ models, threads, enginesDir, gpu: gpu ? 'auto' : false, logger })
}

/**
 * Vendors whose GPUs the node's own llama.cpp takes: it spreads a model over all that its backend sees. What an upstream
 * server computes on is not known.
 */
export function vendorsInUse({
  engine,
  gpu,
  enginesDir,
  home,
}: Pick<NodeConfig, 'engine' | 'gpu' | 'enginesDir' | 'home'>): ('nvidia' | 'amd')[] {
  if (engine !== 'llama.cpp' || gpu === 'none') return []
  const folder = enginesDir ?? join(home, 'engines')
  // CUDA is taken before Vulkan, and Vulkan where CUDA does not work: then it is any GPU.
  if (isInstalled(folder, 'vulkan')) return ['nvidia', 'amd']
  return isInstalled(folder, 'cuda') ? ['nvidia'] : []
}

const GPU_BACKENDS = ['cuda', 'vulkan', 'metal'] as const

const isInstalled = (enginesDir: string, backend: (typeof GPU_BACKENDS)[number] | 'cpu'): boolean =>
  existsSync(llamaCppFolder(enginesDir, backend))

const PROGRESS_MS = 5 * SECOND

/** A download reports many times a second; people read a line every few. */
function sayProgress(
  model: string,
  say: (line: string) => void,
): (progress: DownloadProgress) => void {
  let saidAt: Millis | null = null
  return ({ bytes, totalBytes, bytesPerSecond, etaS }) => {
    const now = Date.now()
    if (saidAt !== null && now - saidAt < PROGRESS_MS && bytes !== totalBytes) return
    saidAt = now
    const share = totalBytes === null ? '' : ` of ${megabytes(totalBytes)}`
    const left = etaS === null ? '' : `, ${Math.ceil(etaS)} s left`
    say(`downloading ${model}: ${megabytes(bytes)}${share}, ${megabytes(bytesPerSecond)}/s${left}`)
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`

async function sellUpstream(
  config: NodeConfig,
  { logger, say, signal }: EngineOptions,
): Promise<Engine> {
  const { upstream, upstreamKeyEnv, models } = config
  const apiKey = upstreamKeyEnv === null ? null : (process.env[upstreamKeyEnv] ?? null)
  if (upstreamKeyEnv !== null && apiKey === null)
    throw new Fault(
      'invalid_settings',
      `upstreamKeyEnv: the environment variable ${upstreamKeyEnv} is not set`,
    )
  assert.ok(upstream !== null, 'the settings were checked')
  say(`asking ${upstream} what it can do`)
  const wanted = models.length === 0 ? [defaultModelConfig('any')] : models
  const contexts = wanted.flatMap(({ contextTokens }) => contextTokens ?? [])
  return startOpenAiEngine({
    upstream,
    apiKey,
    ...(models.length > 0 && { models: models.map(modelNameOf) }),
    // All models share the upstream's hardware: the most that any of them may take is what it can take at all.
    slots: Math.max(...wanted.map(({ slots }) => slots)),
    ...(contexts.length > 0 && { contextTokens: Math.min(...contexts) }),
    logger,
    ...(signal && { signal }),
  })
}
