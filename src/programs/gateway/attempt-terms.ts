/** What an attempt may use and who pays its prompt: the same sums for the hold and for the header that goes to the node. */
import { priceCeiling, type NanoUsd } from '../../core/base/money.ts'
import type { InferenceRequest } from '../../core/protocol/inference-request.ts'
import type { Replica } from '../../core/routing/replica.ts'
import type { ResumePlan } from '../../core/routing/resume.ts'

export type AttemptTerms = {
  /** Tokens of earlier attempts that this one need not make again. */
  readonly given: number
  /** New tokens that it may make. */
  readonly maxTokens: number
  /** The prompt is paid once: to the first node that gave a token, for the first choice of each prompt. */
  readonly billInput: boolean
  /** No honest node counts more tokens of input. */
  readonly inputCeiling: number
  /** No attempt on these terms costs more. */
  readonly ceilingNanoUsd: NanoUsd
}

/** What a chat template may add to the bytes of a body. */
const TEMPLATE_TOKENS = 64

/** Null: as many as the context holds. Embeddings make none. */
export const maxTokensOf = (request: InferenceRequest): number | null =>
  request.api === 'embedding' ? 0 : request.sampling.maxTokens

export function attemptTerms(input: {
  request: InferenceRequest
  choice: number
  bodyBytes: number
  tokens: number
  replica: Replica
  plan: ResumePlan | null
}): AttemptTerms {
  const { request, choice, bodyBytes, tokens, replica, plan } = input
  const goesOn = plan?.kind === 'resume_ids' || plan?.kind === 'resume_text'
  const given = goesOn ? tokens : 0
  const firstOfPrompt = request.api === 'embedding' || choice % request.n === 0
  const prompts = request.api === 'embedding' ? request.input.length : 1
  const limit = Math.min(maxTokensOf(request) ?? replica.contextTokens, replica.contextTokens)
  const maxTokens = Math.max(0, limit - given)
  const billInput = firstOfPrompt && given === 0
  // A token is at least one byte of the body.
  const inputCeiling = Math.min(bodyBytes + TEMPLATE_TOKENS, replica.contextTokens * prompts)
  const ceilingNanoUsd = priceCeiling(billInput ? inputCeiling : 0, maxTokens, replica.price)
  return { given, maxTokens, billInput, inputCeiling, ceilingNanoUsd }
}
