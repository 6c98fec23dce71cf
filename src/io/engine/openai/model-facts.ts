/** What servers tell about a model beside its name: digest, quantization, context. Each in its own place. */
import { isRecord, type Fields } from '../../../core/protocol/read-fields.ts'
import { fieldsAt, type ListedModel, type Software } from './software.ts'
import type { Upstream } from './upstream.ts'

export type ModelFacts = {
  /** `sha256:<hex>` or `name:<software>:<id>`. */
  readonly digest: string
  readonly quantization: string | null
  /** Null: the server does not say. */
  readonly contextTokens: number | null
}

/** Ask after the model has answered once: Ollama and LM Studio know a context only of loaded models. */
export async function modelFacts(
  upstream: Upstream,
  software: Software,
  model: ListedModel,
  signal: AbortSignal,
): Promise<ModelFacts> {
  const own = await ownFacts(upstream, software, model, signal)
  const told = own.digest ?? model.fields['digest']
  return {
    digest: digestOf(told) ?? `name:${software.name}:${model.id}`,
    quantization: shortText(own.quantization ?? model.fields['quantization']),
    contextTokens: positive(
      own.contextTokens,
      model.fields['max_model_len'], // vLLM, SGLang
      model.fields['context_tokens'], // Baseload
      model.fields['context_length'], // OpenRouter and others
    ),
  }
}

type OwnFacts = { digest?: unknown; quantization?: unknown; contextTokens?: unknown }

async function ownFacts(
  upstream: Upstream,
  { name }: Software,
  { id, fields }: ListedModel,
  signal: AbortSignal,
): Promise<OwnFacts> {
  switch (name) {
    case 'ollama': {
      const tag = namedIn(await fieldsAt(upstream, '/api/tags', signal), 'models', 'name', id)
      const loaded = namedIn(await fieldsAt(upstream, '/api/ps', signal), 'models', 'name', id)
      const details = tag?.['details']
      return {
        digest: tag?.['digest'],
        quantization: isRecord(details) ? details['quantization_level'] : null,
        contextTokens: loaded?.['context_length'],
      }
    }
    case 'llama.cpp': {
      const props = await fieldsAt(upstream, '/props', signal)
      const settings = props?.['default_generation_settings']
      const meta = fields['meta']
      return {
        contextTokens:
          (isRecord(settings) ? settings['n_ctx'] : null) ??
          (isRecord(meta) ? meta['n_ctx_train'] : null),
      }
    }
    case 'lm-studio': {
      const own = namedIn(await fieldsAt(upstream, '/api/v0/models', signal), 'data', 'id', id)
      return {
        quantization: own?.['quantization'],
        contextTokens: own?.['loaded_context_length'] ?? own?.['max_context_length'],
      }
    }
    case 'baseload':
    case 'sglang':
    case 'vllm':
    case 'openai-compatible':
      return {}
  }
}

function namedIn(body: Fields | null, list: string, key: string, id: string): Fields | undefined {
  const entries = body?.[list]
  return Array.isArray(entries)
    ? entries.filter(isRecord).find((entry) => entry[key] === id || entry[key] === `${id}:latest`)
    : undefined
}

/** Ollama writes the bare hex, Baseload the digest as it offers it. */
function digestOf(told: unknown): string | null {
  if (typeof told !== 'string' || told.length > 300) return null
  if (/^[0-9a-f]{64}$/.test(told)) return `sha256:${told}`
  return /^(sha256:[0-9a-f]{64}|name:.+)$/.test(told) ? told : null
}

const shortText = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' && value.length <= 40 ? value : null

const positive = (...values: readonly unknown[]): number | null =>
  values.find(
    (value): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 100_000_000,
  ) ?? null
