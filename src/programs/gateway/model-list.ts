/** `GET /v1/models` and `/v1/models/<id>`: OpenAI's list, with what a tenant here wants to know beside it. */
import { formatUsd } from '../../core/base/money.ts'
import { refuse, type Refusal } from '../../core/base/refusal.ts'
import type { OfferedModel } from '../../core/protocol/offer.ts'
import type { LinkedNode } from './control/control-parts.ts'

/** The JSON body, or a refusal for a model nobody serves. */
export function listModels(path: string, nodes: readonly LinkedNode[]): string | Refusal {
  const byModel = new Map<string, { offers: OfferedModel[]; since: number }>()
  for (const { link } of nodes) {
    for (const model of link.offer.models) {
      const known = byModel.get(model.model) ?? { offers: [], since: link.linkedAt }
      known.offers.push(model)
      known.since = Math.min(known.since, link.linkedAt)
      byModel.set(model.model, known)
    }
  }
  const wanted = decode(path.slice('/v1/models/'.length))
  if (wanted !== '') {
    const found = byModel.get(wanted)
    if (found) return JSON.stringify(describe(wanted, found.offers, found.since))
    return refuse(
      'model_not_found',
      `No linked node serves '${wanted.slice(0, 200)}'. GET /v1/models lists what there is.`,
      { param: 'model' },
    )
  }
  const data = [...byModel]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([model, { offers, since }]) => describe(model, offers, since))
  return JSON.stringify({ object: 'list', data })
}

function describe(id: string, offers: readonly OfferedModel[], since: number): object {
  const prices = (pick: (offer: OfferedModel) => string) =>
    offers.map((offer) => BigInt(pick(offer)))
  return {
    id,
    object: 'model',
    created: Math.floor(since / 1000),
    owned_by: 'baseload',
    replicas: offers.length,
    context_length: Math.max(...offers.map(({ contextTokens }) => contextTokens)),
    // Null when replicas differ: then an answer may not be resumable everywhere.
    digest: common(offers.map(({ digest }) => digest)),
    quantization: common(offers.map(({ quantization }) => quantization)),
    capabilities: [...new Set(offers.flatMap(({ capabilities }) => capabilities))],
    pricing: {
      unit: 'USD per million tokens, cheapest replica',
      prompt: cheapest(prices((offer) => offer.inputNanoUsdPerMTok)),
      completion: cheapest(prices((offer) => offer.outputNanoUsdPerMTok)),
    },
  }
}

const common = <T>(values: readonly T[]): T | null =>
  new Set(values).size === 1 ? (values[0] ?? null) : null

const cheapest = (all: readonly bigint[]): string =>
  formatUsd(all.reduce((least, price) => (price < least ? price : least)))

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
