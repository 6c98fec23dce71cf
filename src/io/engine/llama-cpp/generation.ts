/** One generation: what is asked, checked and counted before a slot is taken; then token by token. */
import { Fault, isRefusal, reasonOf, refuse } from '../../../core/base/refusal.ts'
import type { TokenChunk } from '../../../core/protocol/token-chunk.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import type { GenerationEnd, GenerationTask } from '../engine.ts'
import { TextAssembler } from '../text-assembler.ts'
import { drawNext, type Sampler } from './draw.ts'
import { compileFormat } from './json-grammar.ts'
import type { LlamaModel, LlamaSequence } from './llama-binding.ts'
import { TOKENS_PER_STEP, type LoadedModel } from './loaded-model.ts'

export type Generation = {
  readonly prompt: readonly number[]
  /** Tokens of an interrupted attempt, to go on after. */
  readonly given: readonly number[]
  readonly assembler: TextAssembler
  readonly sampler: Sampler
  /** Tokens to produce at most: what was asked for, or what the context has room for. */
  readonly maxTokens: number
}

/** Throws an EngineRefusal for what this model cannot do, before any slot is taken. */
export async function planGeneration(
  loaded: LoadedModel,
  task: GenerationTask,
): Promise<Generation> {
  const prompt = promptTokens(loaded, task)
  const { contextTokens } = loaded.described
  if (prompt.length >= contextTokens) throw contextOverflow(prompt.length, contextTokens)
  const given = task.resume?.tokenIds ?? []
  if (task.format.type !== 'text' && given.length > 0)
    throw unsupported('response_format', 'cannot be resumed: start again')
  const grammar = await compileFormat(task.format, loaded.llama)
  if (isRefusal(grammar)) throw new EngineRefusal(grammar)
  const { library, model } = loaded
  return {
    prompt,
    given,
    assembler: replay(loaded, task),
    sampler: {
      temperature: task.temperature,
      topP: task.topP,
      seed: task.seed,
      topLogprobs: task.topLogprobs,
      grammar: grammar && new library.LlamaGrammarEvaluationState({ model, grammar }),
    },
    maxTokens: Math.max(0, Math.min(task.maxTokens, contextTokens - prompt.length - given.length)),
  }
}

/** How a generation ended, or null where tokens are still to be produced. */
export function endedAlready(loaded: LoadedModel, plan: Generation): GenerationEnd | null {
  const last = plan.given.at(-1)
  const stopped = plan.assembler.stopped || (last !== undefined && loaded.model.isEogToken(last))
  const inputTokens = plan.prompt.length
  if (stopped) return { finish: 'stop', inputTokens, outputTokens: 0 }
  return plan.maxTokens === 0 ? { finish: 'length', inputTokens, outputTokens: 0 } : null
}

/** Produces the tokens on a slot. Ends with 'cancelled' between two steps when the signal says so. */
export async function* generateOn(
  sequence: LlamaSequence,
  loaded: LoadedModel,
  plan: Generation,
  signal: AbortSignal,
): AsyncGenerator<TokenChunk, GenerationEnd, void> {
  const { model, vocabulary, gate } = loaded
  const { prompt, given, assembler, sampler, maxTokens } = plan
  let outputTokens = 0
  const end = (finish: GenerationEnd['finish']): GenerationEnd => ({
    finish,
    inputTokens: prompt.length,
    outputTokens,
  })
  let last = await feed(sequence, loaded, plan, signal)
  while (outputTokens < maxTokens) {
    if (signal.aborted) return end('cancelled')
    const position = given.length + outputTokens
    const { id, logprob } = await drawNext({ sequence, gate, vocabulary }, sampler, last, position)
    if (signal.aborted) return end('cancelled')
    outputTokens += 1
    // The token that ends the text is sent too: it was computed, it is counted, and it carries what was held back.
    if (model.isEogToken(id)) {
      yield { id, text: assembler.finish(), logprob: '' }
      return end('stop')
    }
    let text = assembler.push(vocabulary.bytesOf(id))
    if (outputTokens === maxTokens) text += assembler.finish()
    yield { id, text, logprob }
    if (assembler.stopped) return end('stop')
    last = id
  }
  return end('length')
}

/**
 * Brings all tokens but the last into the sequence, and gives the last, from which the next is drawn.
 * Exact: the prompt in pieces and then single tokens, just as the interrupted attempt came to them, so that
 * every number in the cache has the same bits. It costs what generating them cost; a batch would be faster.
 */
async function feed(
  sequence: LlamaSequence,
  { exact, gate }: LoadedModel,
  { prompt, given }: Generation,
  signal: AbortSignal,
): Promise<number> {
  const all = [...prompt, ...given]
  const last = all.pop()
  if (last === undefined) throw new Error('a prompt has at least one token')
  await gate.alone(() =>
    exact ? sequence.clearHistory() : sequence.adaptStateToTokens(all, false),
  )
  const batched = exact ? prompt.length - 1 : all.length
  for (let at = sequence.nextTokenIndex; at < all.length && !signal.aborted;) {
    const next = at < batched ? Math.min(at + TOKENS_PER_STEP, batched) : at + 1
    const piece = all.slice(at, next)
    await gate.step(() => sequence.evaluateWithoutGeneratingNewTokens(piece))
    at = next
  }
  return last
}

function promptTokens(loaded: LoadedModel, { input }: GenerationTask): number[] {
  const { model, template, vocabulary } = loaded
  if (input.kind === 'chat') {
    if (!template) throw unsupported('messages', 'needs a chat template, which this model has not')
    return withBos(model, template.tokensOf(input.messages))
  }
  // The whole prompt is the tenant's own, control tokens included: there is no template to protect.
  if (typeof input.prompt === 'string') return withBos(model, model.tokenize(input.prompt, true))
  return withBos(model, [...knownTokens(input.prompt, vocabulary.size)])
}

/** Where the model wants a beginning, there is exactly one: many templates write it themselves. */
function withBos({ tokens }: LlamaModel, ids: number[]): number[] {
  const missing = tokens.shouldPrependBosToken && tokens.bos !== null && ids[0] !== tokens.bos
  // Without any token there is nothing to go on from.
  return missing || ids.length === 0 ? [tokens.bos ?? 0, ...ids] : ids
}

/** Token ids that the model has: llama.cpp aborts the whole process on others. */
export function knownTokens(ids: readonly number[], size: number): readonly number[] {
  const stranger = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size)
  if (stranger === undefined) return ids
  throw new EngineRefusal(
    refuse('invalid_value', `Token ${stranger} does not exist: the model has 0 to ${size - 1}.`),
  )
}

/** The assembler as the interrupted attempt left it. */
function replay({ vocabulary, model }: LoadedModel, task: GenerationTask): TextAssembler {
  const assembler = new TextAssembler(task.stop)
  if (task.resume === null) return assembler
  if (task.resume.tokenIds.length === 0 && task.resume.text !== '')
    throw unsupported('resume', 'needs token ids, not text alone')
  let text = ''
  for (const id of knownTokens(task.resume.tokenIds, vocabulary.size)) {
    text += model.isEogToken(id) ? assembler.finish() : assembler.push(vocabulary.bytesOf(id))
  }
  if (text === task.resume.text) return assembler
  throw new Fault(
    'resume_mismatch',
    `The ${task.resume.tokenIds.length} tokens to go on after do not spell the ${task.resume.text.length} ` +
      `characters already sent, but ${text.length}: another tokenizer made them.`,
  )
}

export function contextOverflow(length: number, contextTokens: number): EngineRefusal {
  return new EngineRefusal(
    refuse(
      'context_length_exceeded',
      `This model's maximum context length is ${contextTokens} tokens, and the prompt has ${length}. ` +
        'Shorten it.',
      { param: 'messages', details: { promptTokens: length, contextTokens } },
    ),
  )
}

export const unsupported = (param: string, why: string): EngineRefusal =>
  new EngineRefusal(refuse('unsupported_feature', `'${param}' ${why}.`, { param }))

/** What llama.cpp throws, as a fault; refusals and faults as they are. */
export function engineFault(thrown: unknown): Error {
  if (thrown instanceof Fault || thrown instanceof EngineRefusal) return thrown
  return new Fault('engine_failed', `llama.cpp failed: ${reasonOf(thrown)}`, {
    cause: thrown,
    retryable: true,
  })
}
