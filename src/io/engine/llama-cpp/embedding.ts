/** Texts → vectors of length one, as OpenAI's are. */
import type { EmbeddingResult, EmbeddingTask } from '../engine.ts'
import { contextOverflow, knownTokens, unsupported } from './generation.ts'
import type { LoadedModel } from './loaded-model.ts'

/** Rejects with the signal's reason when aborted between two inputs. */
export async function embedOn(
  loaded: LoadedModel,
  { input }: EmbeddingTask,
  signal: AbortSignal,
): Promise<EmbeddingResult> {
  const { embedding, model, vocabulary, described, gate } = loaded
  if (!embedding) throw unsupported('input', 'needs a model that embeds, which this one does not')
  const prompts = input.map((one) =>
    typeof one === 'string' ? model.tokenize(one, false) : knownTokens(one, vocabulary.size),
  )
  let inputTokens = 0
  for (const prompt of prompts) {
    const length = embedding.calculateInputLength([...prompt])
    if (length >= described.contextTokens) throw contextOverflow(length, described.contextTokens)
    inputTokens += length
  }
  const vectors: Float32Array[] = []
  for (const prompt of prompts) {
    signal.throwIfAborted()
    const { vector } = await gate.step(() => embedding.getEmbeddingFor(prompt))
    vectors.push(unit(vector))
  }
  return { vectors, inputTokens }
}

function unit(vector: readonly number[]): Float32Array {
  const length = Math.hypot(...vector)
  return Float32Array.from(vector, (x) => (length === 0 ? 0 : x / length))
}
