/** A generation task in the upstream's words. */
import { Fault, refuse } from '../../../core/base/refusal.ts'
import type { ResponseFormat } from '../../../core/protocol/response-format.ts'
import type { Capability } from '../../../core/protocol/offer.ts'
import { NO_TOKEN_ID } from '../../../core/protocol/token-chunk.ts'
import type { GenerationTask } from '../engine.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import type { Ask } from './answer-stream.ts'

/** How the upstream is asked for token ids: vLLM's and SGLang's parameter, or Baseload's header. */
export type TokenIdsBy = 'parameter' | 'header'
/** How it goes on after an assistant's text: vLLM's and SGLang's flag, or by seeing it last. */
export type ContinuesBy = 'flag' | 'prefill'

/** What the probe found out about one model. */
export type Found = {
  readonly capabilities: readonly Capability[]
  readonly chatTokenIds: TokenIdsBy | null
  readonly completionTokenIds: TokenIdsBy | null
  readonly continuesBy: ContinuesBy | null
}

/** Throws an EngineRefusal that names what this model was not found to do. */
export function askFor(task: GenerationTask, found: Found): Ask {
  refuseWhatIsMissing(task, found)
  const chat = task.input.kind === 'chat'
  const tokenIds = chat ? found.chatTokenIds : found.completionTokenIds
  const body = {
    model: task.model,
    ...inputOf(task, found.continuesBy),
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: task.maxTokens,
    temperature: task.temperature,
    top_p: task.topP,
    ...(found.capabilities.includes('seed') && { seed: task.seed }),
    ...(task.stop.length > 0 && { stop: task.stop }),
    ...(task.topLogprobs !== null &&
      (chat ? { logprobs: true, top_logprobs: task.topLogprobs } : { logprobs: task.topLogprobs })),
    ...formatOf(task.format),
    ...(tokenIds === 'parameter' && { return_token_ids: true }),
  }
  return {
    path: chat ? '/chat/completions' : '/completions',
    body,
    headers: tokenIds === 'header' ? { 'x-baseload-token-ids': '1' } : {},
  }
}

/** Bytes of the input, for an estimate where the upstream did not count. A token id counts as a whole token. */
export const INPUT_BYTES_PER_TOKEN = 6

/**
 * Input tokens from below: nearly every tokenizer makes more tokens of natural text. For an answer that was
 * left before the upstream had counted, so that leaving early is neither free nor overcharged.
 */
export function leastInputTokens(task: GenerationTask): number {
  const { input } = task
  if (input.kind === 'completion' && typeof input.prompt !== 'string') return input.prompt.length
  const text =
    input.kind === 'chat'
      ? input.messages.map((message) => message.content).join('')
      : String(input.prompt)
  return Math.ceil(Buffer.byteLength(text) / INPUT_BYTES_PER_TOKEN)
}

function refuseWhatIsMissing(task: GenerationTask, found: Found): void {
  const kind = task.input.kind
  const { format } = task
  const needs: [Capability, string, boolean][] = [
    [kind, kind === 'chat' ? 'messages' : 'prompt', true],
    ['stop', 'stop', task.stop.length > 0],
    ['logprobs', 'logprobs', task.topLogprobs !== null],
    ['json_object', 'response_format', format.type === 'json_object'],
    ['json_schema', 'response_format', format.type === 'json_schema'],
  ]
  const missing = needs.find(([need, , asked]) => asked && !found.capabilities.includes(need))
  if (!missing) return
  const [capability, param] = missing
  throw new EngineRefusal(
    refuse(
      'unsupported_feature',
      `'${param}' needs ${capability}, which this node's upstream does not offer for ${task.model}.`,
      { param, details: { capability, model: task.model } },
    ),
  )
}

function inputOf(task: GenerationTask, continuesBy: ContinuesBy | null): Record<string, unknown> {
  const { input, resume } = task
  const given =
    resume !== null && (resume.text !== '' || resume.tokenIds.length > 0) ? resume : null
  if (input.kind === 'completion') {
    if (given === null) return { prompt: input.prompt }
    if (typeof input.prompt === 'string') return { prompt: input.prompt + given.text }
    if (given.tokenIds.includes(NO_TOKEN_ID)) throw cannotResume(task.model)
    return { prompt: [...input.prompt, ...given.tokenIds] }
  }
  // Servers' templates know 'system'; OpenAI's newer name for it only some.
  const messages = input.messages.map((message) =>
    message.role === 'developer' ? { ...message, role: 'system' } : message,
  )
  if (given === null) return { messages }
  if (continuesBy === null || messages.at(-1)?.role === 'assistant') throw cannotResume(task.model)
  return {
    messages: [...messages, { role: 'assistant', content: given.text }],
    ...(continuesBy === 'flag' && { continue_final_message: true, add_generation_prompt: false }),
  }
}

const cannotResume = (model: string): Fault =>
  new Fault('cannot_resume', `the upstream cannot go on after another's text with ${model}`, {
    retryable: true,
  })

function formatOf(format: ResponseFormat): Record<string, unknown> {
  switch (format.type) {
    case 'text':
      return {}
    case 'json_object':
      return { response_format: { type: 'json_object' } }
    case 'json_schema':
      return {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'answer', strict: true, schema: format.schema },
        },
      }
  }
}
