/**
 * The part of node-llama-cpp 3.22.1 that we use, declared by hand: the library is installed apart from our
 * packages, so the compiler never sees its own types.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Fault } from '../../../core/base/refusal.ts'

export type LlamaLibrary = {
  getLlama(options: {
    build: 'never'
    skipDownload: true
    gpu: false | 'auto' | 'metal'
    logLevel: 'warn'
    logger: (level: string, message: string) => void
  }): Promise<Llama>
  readonly LlamaGrammarEvaluationState: new (parts: {
    model: LlamaModel
    grammar: LlamaGrammar
  }) => GrammarState
}

export type Llama = {
  readonly gpu: false | string
  loadModel(options: { modelPath: string; gpuLayers?: number }): Promise<LlamaModel>
  createGrammar(options: { grammar: string }): Promise<LlamaGrammar>
  /** Its dialect is smaller than JSON Schema, and it ignores what it does not know: see json-grammar.ts. */
  createGrammarForJsonSchema(schema: unknown): Promise<LlamaGrammar>
  getGrammarFor(type: 'json'): Promise<LlamaGrammar>
  dispose(): Promise<void>
}

export type LlamaGrammar = { readonly grammar: string }
/** How far one answer has come in its grammar; sampling moves it on. */
export type GrammarState = { readonly clone: () => GrammarState }

export type LlamaModel = {
  readonly trainContextSize: number
  /** `llama 8B Q8_0`: architecture, size, quantisation. */
  readonly typeDescription: string
  readonly fileInsights: { readonly hasDecoder: boolean }
  readonly fileInfo: {
    readonly metadata: {
      readonly tokenizer: {
        readonly chat_template?: string
        readonly ggml: { readonly model: string; readonly tokens: readonly string[] }
      }
    }
  }
  readonly tokens: {
    readonly bos: number | null
    readonly bosString: string | null
    readonly eosString: string | null
    readonly shouldPrependBosToken: boolean
  }
  tokenize(text: string, specialTokens: boolean): number[]
  detokenize(tokens: readonly number[], specialTokens: boolean): string
  getTokenAttributes(token: number): TokenAttributes
  isEogToken(token: number): boolean
  createContext(options: {
    contextSize: number
    sequences: number
    threads: number
    batchSize: number
  }): Promise<LlamaContext>
  createEmbeddingContext(options: {
    contextSize: number
    batchSize: number
    threads: number
  }): Promise<LlamaEmbeddingContext>
  dispose(): Promise<void>
}

export type TokenAttributes = {
  readonly control: boolean
  readonly unknown: boolean
  readonly userDefined: boolean
}

export type LlamaContext = {
  getSequence(): LlamaSequence
  dispose(): Promise<void>
}

export type SamplingOptions = {
  temperature: number
  /** Null leaves the sampler out; the library's default would cut the distribution at 40. */
  topK: null
  topP: number
  minP: number
  seed: number
  grammarEvaluationState?: GrammarState
}

export type LlamaSequence = {
  /** How many tokens are in the sequence's cache. */
  readonly nextTokenIndex: number
  clearHistory(): Promise<void>
  /** Drops all that does not begin like `tokens`. */
  adaptStateToTokens(tokens: readonly number[], allowShift: false): Promise<void>
  eraseContextTokenRanges(ranges: readonly { start: number; end: number }[]): Promise<void>
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>
  evaluate(
    tokens: readonly number[],
    options: SamplingOptions & { yieldEogToken: true },
  ): AsyncGenerator<number, void, undefined>
  controlledEvaluate(
    input: readonly [token: number, wanted: { generateNext: ControlledStep }][],
  ): Promise<readonly ControlledResult[]>
}

export type ControlledStep = {
  token: true
  totalLogitWeight: true
  logits: { filter: { tokens?: readonly number[]; includeSelected: true; includeTop: number } }
  options: SamplingOptions
}
export type ControlledResult = {
  readonly next: {
    readonly token: number | null
    /** Σ exp(logit − the largest logit) over all tokens. */
    readonly totalLogitWeight: number
    readonly logits: ReadonlyMap<number, number>
  }
}

export type LlamaEmbeddingContext = {
  /** The tokens that the text becomes, with those that the model wants around it. */
  calculateInputLength(input: readonly number[]): number
  getEmbeddingFor(input: readonly number[]): Promise<{ readonly vector: readonly number[] }>
  dispose(): Promise<void>
}

/** `@huggingface/jinja`, which comes with the library. */
export type JinjaLibrary = {
  readonly Template: new (template: string) => JinjaTemplate
}
export type JinjaTemplate = { render(parameters: Record<string, unknown>): string }

/** Loads both libraries from an engine's folder, or says how to install it. */
export async function loadLlamaLibrary(
  folder: string,
): Promise<{ llama: LlamaLibrary; jinja: JinjaLibrary }> {
  const modules = join(folder, 'node_modules')
  const load = (path: string) => import(pathToFileURL(join(modules, path)).href)
  try {
    return {
      llama: await load('node-llama-cpp/dist/index.js'),
      jinja: await load('@huggingface/jinja/dist/index.js'),
    }
  } catch (cause) {
    throw new Fault(
      'engine_missing',
      `llama.cpp is not installed in ${folder}. Install it with \`baseload doctor --install\`.`,
      { cause },
    )
  }
}
