/** Which capabilities a request cannot do without: a node that lacks one would have to drop a parameter. */
import type { InferenceRequest } from '../protocol/inference-request.ts'
import type { Capability } from '../protocol/offer.ts'

export function needsOf(request: InferenceRequest): Capability[] {
  const needs: Capability[] = [request.api]
  if (request.api === 'embedding') return needs
  const { topLogprobs, seed, stop, format } = request.sampling
  if (topLogprobs !== null) needs.push('logprobs')
  if (seed !== null) needs.push('seed')
  if (stop.length > 0) needs.push('stop')
  if (format.type !== 'text') needs.push(format.type)
  return needs
}
