/** The engine that the settings name, started. */
import assert from 'node:assert/strict'
import { Fault } from '../../core/base/refusal.ts'
import type { Engine } from '../../io/engine/engine.ts'
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
      throw new Error('being built')
    case 'openai':
      return sellUpstream(config, options)
  }
}

function sellUpstream(config: NodeConfig, { logger, say, signal }: EngineOptions): Promise<Engine> {
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
