/** What a request may cost at most, at whichever replica it is served: the price that a payment is asked for. */
import type { NanoUsd, TokenPrice } from '../../../core/base/money.ts'
import { isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { nanoUsdWithin, unitsToAsk } from '../../../core/ledger/told-charge.ts'
import type { InferenceRequest } from '../../../core/protocol/inference-request.ts'
import { demandsOf } from '../../../core/routing/demands.ts'
import { modelNotFound } from '../../../core/routing/explain.ts'
import { needsOf } from '../../../core/routing/needs.ts'
import type { Replica } from '../../../core/routing/replica.ts'
import type { ReplicaTable } from '../../../core/routing/replica-table.ts'
import { attemptTerms, maxTokensOf } from '../attempt-terms.ts'

export type Quote = {
  /** Asked for in units: enough for the dearest replica that may serve it. */
  readonly units: bigint
  /** The request held to what so many units pay; null: no replica serves it for that. */
  within(units: bigint): { readonly request: InferenceRequest; readonly nanoUsd: NanoUsd } | null
}

type Priced = { readonly replica: Replica; readonly nanoUsd: NanoUsd }

/**
 * Refuses only a model that nobody serves: whatever else stands in the way is told where requests are placed. Replicas that are
 * busy or cool down count, too, so that the price does not change with the load between offer and payment.
 */
export function quoteFor(
  table: ReplicaTable,
  request: InferenceRequest,
  bodyBytes: number,
): Quote | Refusal {
  const replicas = request.models.flatMap((model) => [...(table.of(model)?.replicas ?? [])])
  if (replicas.length === 0) return modelNotFound(request.model, table.models())
  const fitting = fittingOf(request, replicas)
  if (isRefusal(fitting)) return fitting
  const priced = (fitting.length > 0 ? fitting : replicas)
    .map((replica): Priced => ({ replica, nanoUsd: ceilingOf(request, bodyBytes, replica) }))
    .toSorted((a, b) => Number(a.nanoUsd - b.nanoUsd))
  const dearest = priced.at(-1)?.nanoUsd ?? 0n
  return {
    units: unitsToAsk(dearest),
    within(units) {
      const budget = nanoUsdWithin(units)
      const affordable = priced.filter(({ nanoUsd }) => nanoUsd <= budget)
      const last = affordable.at(-1)
      if (!last) return null
      const all = affordable.length === priced.length
      return { request: held(request, affordable, all), nanoUsd: last.nanoUsd }
    },
  }
}

function fittingOf(request: InferenceRequest, replicas: readonly Replica[]): Replica[] | Refusal {
  const demands = demandsOf(
    {
      needs: needsOf(request),
      contextTokensAtLeast: 0,
      digest: null,
      engineFamily: null,
      preferences: request.provider,
    },
    replicas,
  )
  if (isRefusal(demands)) return demands
  return replicas.filter((replica) => demands.list.every(({ passes }) => passes(replica)))
}

/** All choices, each as the meter would reserve for it. */
function ceilingOf(request: InferenceRequest, bodyBytes: number, replica: Replica): NanoUsd {
  let nanoUsd = 0n
  for (let choice = 0; choice < choicesOf(request); choice++) {
    const terms = { request, choice, bodyBytes, tokens: 0, replica, plan: null }
    nanoUsd += attemptTerms(terms).ceilingNanoUsd
  }
  return nanoUsd
}

export function choicesOf(request: InferenceRequest): number {
  if (request.api === 'embedding') return 1
  return request.n * (request.api === 'completion' ? request.prompts.length : 1)
}

/** No answer is longer than it was quoted for, and none is given at a price that was not paid for. */
function held(
  request: InferenceRequest,
  affordable: readonly Priced[],
  all: boolean,
): InferenceRequest {
  const longest = Math.max(...affordable.map(({ replica }) => replica.contextTokens))
  const price = dearestOf(affordable.map(({ replica }) => replica.price))
  const provider = all
    ? request.provider
    : {
        ...request.provider,
        maxInputPrice: price.inputNanoUsdPerMTok,
        maxOutputPrice: price.outputNanoUsdPerMTok,
      }
  if (request.api === 'embedding') return { ...request, provider }
  const maxTokens = maxTokensOf(request) ?? longest
  return { ...request, provider, sampling: { ...request.sampling, maxTokens } }
}

function dearestOf(prices: readonly TokenPrice[]): TokenPrice {
  let [inputNanoUsdPerMTok, outputNanoUsdPerMTok] = [0n, 0n]
  for (const price of prices) {
    if (price.inputNanoUsdPerMTok > inputNanoUsdPerMTok)
      inputNanoUsdPerMTok = price.inputNanoUsdPerMTok
    if (price.outputNanoUsdPerMTok > outputNanoUsdPerMTok)
      outputNanoUsdPerMTok = price.outputNanoUsdPerMTok
  }
  return { inputNanoUsdPerMTok, outputNanoUsdPerMTok }
}
