/**
 * What runs models on a node. Two implementations: `llama-cpp/` in this process and `openai/` over HTTP
 * (vLLM, SGLang, Ollama, llama-server, LM Studio, another Baseload gateway). `engine-conformance.ts` is the
 * test that every engine passes.
 */
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { Capability } from '../../core/protocol/offer.ts'
import type { ChatMessage } from '../../core/protocol/chat-message.ts'
import type { ResponseFormat } from '../../core/protocol/response-format.ts'

/** One model that an engine has loaded and can serve now. */
export type EngineModel = {
  readonly model: string
  readonly digest: string
  readonly engine: string
  readonly quantization: string | null
  readonly contextTokens: number
  readonly slots: number
  readonly capabilities: readonly Capability[]
}

export type GenerationTask = {
  readonly model: string
  readonly input:
    | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
    | { readonly kind: 'completion'; readonly prompt: string | readonly number[] }
  /** Tokens to produce at most; the engine also stops at the context's end with finish 'length'. */
  readonly maxTokens: number
  readonly temperature: number
  readonly topP: number
  readonly seed: number
  readonly stop: readonly string[]
  /** How many alternatives to report with each token; null: no logprobs at all. */
  readonly topLogprobs: number | null
  readonly format: ResponseFormat
  /** Already given to the tenant: continue right after it, at the same sample positions. */
  readonly resume: { readonly tokenIds: readonly number[]; readonly text: string } | null
}

export type GenerationEnd = {
  readonly finish: 'stop' | 'length' | 'cancelled'
  /** Prompt tokens, without resumed ones. */
  readonly inputTokens: number
  /** New tokens of this attempt; with ids, exactly as many as were yielded. */
  readonly outputTokens: number
}

export type EmbeddingTask = {
  readonly model: string
  readonly input: readonly (string | readonly number[])[]
}
export type EmbeddingResult = {
  readonly vectors: readonly Float32Array[]
  readonly inputTokens: number
}

export type EngineLoad = { readonly free: number; readonly queued: number }

/**
 * An engine throws `EngineRefusal` for a request it cannot serve (context overflow, unsupported feature)
 * and a `Fault` when it breaks. Aborting `signal` frees the slot at once; a generation then ends with
 * finish 'cancelled'.
 */
export type Engine = {
  /** What is loaded now. Stable for the engine's life, except that a failed model may vanish. */
  models(): readonly EngineModel[]
  /** Free slots and waiting tasks of one model. */
  load(model: string): EngineLoad
  /**
   * Yields arrays of chunks, each as soon as it exists, and returns the end. Waits in the engine's short
   * queue when all slots are busy; throws Fault 'busy' (retryable) at once when that is full too.
   */
  generate(
    task: GenerationTask,
    signal: AbortSignal,
  ): AsyncGenerator<TokenChunk[], GenerationEnd, void>
  embed(task: EmbeddingTask, signal: AbortSignal): Promise<EmbeddingResult>
  /** Frees models, threads and sockets. */
  close(): Promise<void>
}
