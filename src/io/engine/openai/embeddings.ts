/** Vectors out of an embeddings answer, checked: as many as were asked for, all equally wide, all numbers. */
import { Fault } from '../../../core/base/refusal.ts'
import { isRecord } from '../../../core/protocol/read-fields.ts'
import type { EmbeddingResult } from '../engine.ts'

/** In the order of the inputs. Throws a Fault for anything else. */
export function readEmbeddings(body: unknown, inputs: number): EmbeddingResult {
  const data = isRecord(body) ? body['data'] : undefined
  if (!Array.isArray(data) || data.length !== inputs)
    throw wrong(`${inputs} texts went in, ${Array.isArray(data) ? data.length : 'no'} vectors came`)
  const vectors: Float32Array[] = []
  for (const [place, item] of data.entries()) {
    if (!isRecord(item)) throw wrong(`vector ${place} is not an object`)
    const index = item['index'] ?? place
    if (typeof index !== 'number' || !(index >= 0 && index < inputs) || vectors[index])
      throw wrong(`vector ${place} has a wrong index`)
    vectors[index] = readVector(item['embedding'], index)
  }
  const width = vectors[0]?.length
  if (vectors.some((vector) => vector.length !== width)) throw wrong('the vectors differ in width')
  const usage = isRecord(body) ? body['usage'] : undefined
  const tokens = isRecord(usage) ? usage['prompt_tokens'] : undefined
  return {
    vectors,
    inputTokens:
      typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens > 0 ? tokens : 0,
  }
}

function readVector(value: unknown, index: number): Float32Array {
  if (!Array.isArray(value) || value.length === 0 || !value.every(Number.isFinite))
    throw wrong(`vector ${index} is not a list of numbers`)
  return Float32Array.from(value.map(Number))
}

const wrong = (what: string): Fault =>
  new Fault('upstream_malformed', `the upstream's embeddings are malformed: ${what}`, {
    retryable: true,
  })
