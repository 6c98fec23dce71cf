/** One GGUF in memory: its contexts, its slots, and what it proved able to do. */
import type { Capability } from '../../../core/protocol/offer.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { EngineModel } from '../engine.ts'
import { ChatTemplate } from './chat-template.ts'
import { LLAMA_CPP_VERSION } from './install.ts'
import type {
  JinjaLibrary,
  Llama,
  LlamaContext,
  LlamaEmbeddingContext,
  LlamaLibrary,
  LlamaModel,
  LlamaSequence,
} from './llama-binding.ts'
import { SlotPool } from './slot-pool.ts'
import { StepGate } from './step-gate.ts'
import { Vocabulary } from './vocabulary.ts'

export type ModelToLoad = {
  /** What tenants ask for. */
  readonly model: string
  /** The GGUF file. */
  readonly path: string
  /** Prompt and answer together, at most what the model was trained for. Default 8192: memory grows with it. */
  readonly contextTokens?: number
  /** Generations at the same time; each has memory of its own for `contextTokens`. */
  readonly slots: number
}

export type LoadedModel = {
  readonly described: EngineModel
  readonly library: LlamaLibrary
  readonly llama: Llama
  readonly model: LlamaModel
  readonly vocabulary: Vocabulary
  readonly template: ChatTemplate | null
  readonly embedding: LlamaEmbeddingContext | null
  readonly gate: StepGate
  readonly slots: SlotPool<LlamaSequence>
  /** One step at a time: see `StepGate`. */
  readonly exact: boolean
  readonly close: () => Promise<void>
}

const DEFAULT_CONTEXT_TOKENS = 8192
const QUEUED_PER_SLOT = 2 // a short queue: longer ones belong to the gateway, which knows other nodes
/** Tokens of a prompt that are read in one step: what an abort, or another slot, waits for at most. */
export const TOKENS_PER_STEP = 256

type Machine = {
  readonly library: LlamaLibrary
  readonly jinja: JinjaLibrary
  readonly llama: Llama
  readonly threads: number
  readonly exact: boolean
  readonly log: Logger
}

export async function loadModel(
  wanted: ModelToLoad & { readonly digest: string },
  machine: Machine,
): Promise<LoadedModel> {
  const { library, jinja, llama, threads, exact, log } = machine
  const model = await llama.loadModel({
    modelPath: wanted.path,
    ...(exact ? { gpuLayers: 0 } : {}),
  })
  const contextTokens = Math.min(
    wanted.contextTokens ?? DEFAULT_CONTEXT_TOKENS,
    model.trainContextSize,
  )
  const context = await model.createContext({
    contextSize: contextTokens,
    sequences: wanted.slots,
    threads,
    batchSize: TOKENS_PER_STEP * (exact ? 1 : wanted.slots),
  })
  const sequences = Array.from({ length: wanted.slots }, () => context.getSequence())
  const vocabulary = new Vocabulary(model)
  const gate = new StepGate({ shared: !exact })
  const embedding = await embeddingContext(model, contextTokens, threads, log)
  const template = chatTemplate(model, jinja, vocabulary, log)
  const generates = await canGenerate(model, sequences[0], log)
  return {
    described: {
      model: wanted.model,
      digest: wanted.digest,
      engine: `llama.cpp/${LLAMA_CPP_VERSION}`,
      quantization: quantizationOf(model),
      contextTokens,
      slots: wanted.slots,
      capabilities: capabilitiesOf({ generates, template, embedding }),
    },
    library,
    llama,
    model,
    vocabulary,
    template,
    embedding,
    gate,
    exact,
    slots: new SlotPool(wanted.model, sequences, wanted.slots * QUEUED_PER_SLOT),
    close: () => closeModel(model, context, embedding, gate),
  }
}

/** `llama 8B Q8_0` → `Q8_0`; `llama 8B all F32` → `F32`. */
function quantizationOf({ typeDescription }: LlamaModel): string | null {
  const [, , ...words] = typeDescription.split(' ')
  return words.filter((word) => word !== 'all' && word !== 'mostly').join(' ') || null
}

function capabilitiesOf(parts: {
  generates: boolean
  template: ChatTemplate | null
  embedding: LlamaEmbeddingContext | null
}): Capability[] {
  const found: Capability[] = []
  if (parts.generates) found.push(...GENERATING)
  if (parts.generates && parts.template) found.push('chat')
  if (parts.embedding) found.push('embedding')
  return found
}

const GENERATING: readonly Capability[] = [
  'completion',
  'logprobs',
  'token_ids',
  'seed',
  'positional_seed',
  'json_object',
  'json_schema',
  'stop',
  'resume_ids',
]

/** Some architectures only embed; one step tells. It also warms up. */
async function canGenerate(
  model: LlamaModel,
  sequence: LlamaSequence | undefined,
  log: Logger,
): Promise<boolean> {
  try {
    await sequence?.evaluateWithoutGeneratingNewTokens([model.tokens.bos ?? 0])
    await sequence?.clearHistory()
    return true
  } catch (error) {
    log.info('this model does not generate', { reason: reasonOf(error) })
    return false
  }
}

async function embeddingContext(
  model: LlamaModel,
  contextTokens: number,
  threads: number,
  log: Logger,
): Promise<LlamaEmbeddingContext | null> {
  try {
    return await model.createEmbeddingContext({
      contextSize: contextTokens,
      batchSize: contextTokens,
      threads,
    })
  } catch (error) {
    log.info('this model does not embed', { reason: reasonOf(error) })
    return null
  }
}

function chatTemplate(
  model: LlamaModel,
  jinja: JinjaLibrary,
  vocabulary: Vocabulary,
  log: Logger,
): ChatTemplate | null {
  const source = model.fileInfo.metadata.tokenizer.chat_template
  if (source === undefined) return null
  try {
    return new ChatTemplate(source, jinja, model, vocabulary)
  } catch (error) {
    log.warn('the chat template does not parse, so no chat is offered', {
      reason: reasonOf(error),
    })
    return null
  }
}

async function closeModel(
  model: LlamaModel,
  context: LlamaContext,
  embedding: LlamaEmbeddingContext | null,
  gate: StepGate,
): Promise<void> {
  await gate.close()
  await embedding?.dispose()
  await context.dispose()
  await model.dispose()
}
