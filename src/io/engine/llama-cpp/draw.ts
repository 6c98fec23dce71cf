/** Drawing the next token, and what to say about how likely it was. */
import { drawKey } from '../../../core/base/random.ts'
import type {
  ControlledResult,
  GrammarState,
  LlamaSequence,
  SamplingOptions,
} from './llama-binding.ts'
import type { StepGate } from './step-gate.ts'
import type { Vocabulary } from './vocabulary.ts'

export type Sampler = {
  readonly temperature: number
  readonly topP: number
  readonly seed: number
  readonly topLogprobs: number | null
  readonly grammar: GrammarState | null
}

export type Draw = {
  readonly id: number
  /** OpenAI's `logprobs.content[]` entry as JSON text, or empty. */
  readonly logprob: string
}

type Place = {
  readonly sequence: LlamaSequence
  readonly gate: StepGate
  readonly vocabulary: Vocabulary
}

/**
 * Feeds `last` and draws the token that follows it, with the randomness of `position` in the answer: llama.cpp's
 * own sampler (top-p, then temperature, then one draw of std::mt19937), seeded anew with `drawKey(seed, position)`.
 */
export async function drawNext(
  place: Place,
  sampler: Sampler,
  last: number,
  position: number,
): Promise<Draw> {
  const { sequence, gate } = place
  const options = samplingOptions(sampler, position)
  const top = sampler.topLogprobs
  if (top === null)
    return { id: await gate.step(() => evaluate(sequence, last, options)), logprob: '' }
  if (drawsFromRaw(sampler)) {
    const result = await gate.step(() => weigh(sequence, last, options, { top }))
    const { token } = result.next
    if (token === null) throw new Error('llama.cpp drew no token')
    return { id: token, logprob: describe(token, result, top, place.vocabulary) }
  }
  // Temperature, top-p and grammar change the weights that the sampler shows, and the log probabilities of the
  // model itself are wanted: take the token back and look again without them. It costs a second step.
  const id = await gate.step(() => evaluate(sequence, last, options))
  const end = sequence.nextTokenIndex
  await gate.alone(() => sequence.eraseContextTokenRanges([{ start: end - 1, end }]))
  const result = await gate.step(() => weigh(sequence, last, GREEDY, { top, also: id }))
  return { id, logprob: describe(id, result, top, place.vocabulary) }
}

const GREEDY: SamplingOptions = { temperature: 0, topK: null, topP: 1, minP: 0, seed: 0 }

function samplingOptions(sampler: Sampler, position: number): SamplingOptions {
  const key = drawKey(sampler.seed, position)
  return {
    temperature: sampler.temperature,
    topK: null,
    topP: sampler.topP,
    minP: 0,
    seed: key === RANDOM_SEED ? 0 : key,
    ...(sampler.grammar === null ? {} : { grammarEvaluationState: sampler.grammar }),
  }
}

/** llama.cpp takes this seed as "choose one by the clock". */
const RANDOM_SEED = 0xffff_ffff

const drawsFromRaw = ({ temperature, topP, grammar }: Sampler): boolean =>
  grammar === null && (temperature === 0 || (temperature === 1 && topP === 1))

async function evaluate(
  sequence: LlamaSequence,
  last: number,
  options: SamplingOptions,
): Promise<number> {
  for await (const id of sequence.evaluate([last], { ...options, yieldEogToken: true })) return id
  throw new Error('llama.cpp drew no token')
}

async function weigh(
  sequence: LlamaSequence,
  last: number,
  options: SamplingOptions,
  { top, also }: { top: number; also?: number },
): Promise<ControlledResult> {
  const filter = {
    tokens: also === undefined ? [] : [also],
    includeSelected: true,
    includeTop: Math.max(1, top),
  } as const
  const generateNext = { token: true, totalLogitWeight: true, logits: { filter }, options } as const
  const [result] = await sequence.controlledEvaluate([[last, { generateNext }]])
  if (!result) throw new Error('llama.cpp gave no logits')
  return result
}

/** Log probabilities of the model itself, before temperature and top-p, as vLLM reports them. */
function describe(
  id: number,
  result: ControlledResult,
  top: number,
  vocabulary: Vocabulary,
): string {
  const { logits, totalLogitWeight } = result.next
  const likeliest = [...logits].toSorted(([, a], [, b]) => b - a)
  const zero = (likeliest[0]?.[1] ?? 0) + Math.log(totalLogitWeight)
  const entry = (token: number, logit: number) => {
    const bytes = vocabulary.bytesOf(token)
    return { token: decoder.decode(bytes), logprob: Math.min(0, logit - zero), bytes: [...bytes] }
  }
  return JSON.stringify({
    ...entry(id, logits.get(id) ?? -Infinity),
    top_logprobs: likeliest.slice(0, top).map(([token, logit]) => entry(token, logit)),
  })
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
