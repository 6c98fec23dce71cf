/**
 * What a request demands of a replica, one small test for each dimension that it names. The same tests that
 * filter on the hot path count, when nobody passes, which dimension excludes how many.
 */
import { formatUsd } from '../base/money.ts'
import { isRefusal, type Refusal } from '../base/refusal.ts'
import type { Capability } from '../protocol/offer.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import { readNames, type NameRanks } from './names.ts'
import { capabilityMask, type Replica } from './replica.ts'

export type Demand = {
  /** The request's parameter, as the refusal names it. */
  readonly name: string
  readonly passes: (replica: Replica) => boolean
  /** Completes "4 of 9 nodes …" for those that fail. */
  readonly says: (failing: readonly Replica[]) => string
}

export type Demands = {
  readonly list: readonly Demand[]
  /** Ranks by `provider.order`; null without one. */
  readonly order: NameRanks | null
}

export type DemandInput = {
  readonly needs: readonly Capability[]
  readonly contextTokensAtLeast: number
  readonly digest: string | null
  readonly engineFamily: string | null
  readonly preferences: ProviderPreferences
}

/** The demands of one request on these replicas, or a refusal when a name in it is ambiguous. */
export function demandsOf(input: DemandInput, replicas: readonly Replica[]): Demands | Refusal {
  const { preferences } = input
  const list = technical(input)
  const order = preferences.order.length === 0 ? null : readNames('order', preferences, replicas)
  if (isRefusal(order)) return order
  for (const key of ['only', 'ignore'] as const) {
    if (preferences[key].length === 0) continue
    const ranks = readNames(key, preferences, replicas)
    if (isRefusal(ranks)) return ranks
    list.push(key === 'only' ? only(ranks) : ignore(ranks))
  }
  if (order && !preferences.allowFallbacks) list.push(onlyOrdered(order))
  addTerms(list, preferences)
  return { list, order }
}

function technical(input: DemandInput): Demand[] {
  const { needs, contextTokensAtLeast, digest, engineFamily } = input
  const mask = capabilityMask(needs)
  const list: Demand[] = []
  if (mask !== 0)
    list.push({
      name: 'capabilities',
      passes: (replica) => (replica.capabilities & mask) === mask,
      says: () => `cannot do all of ${needs.join(', ')}`,
    })
  if (contextTokensAtLeast > 0)
    list.push({
      name: 'context',
      passes: (replica) => replica.contextTokens >= contextTokensAtLeast,
      says: () => `hold fewer than ${contextTokensAtLeast} tokens of context`,
    })
  if (digest !== null)
    list.push({
      name: 'digest',
      passes: (replica) => replica.digest === digest,
      says: () => 'hold other weights than those the answer began with',
    })
  if (engineFamily !== null)
    list.push({
      name: 'engine',
      passes: (replica) => replica.engineFamily === engineFamily,
      says: () => `run another engine than ${engineFamily}`,
    })
  return list
}

const only = (names: NameRanks): Demand => ({
  name: 'provider.only',
  passes: (replica) => names.rank(replica) !== null,
  says: () => 'are not named by provider.only',
})

const ignore = (names: NameRanks): Demand => ({
  name: 'provider.ignore',
  passes: (replica) => names.rank(replica) === null,
  says: () => 'are named by provider.ignore',
})

const onlyOrdered = (names: NameRanks): Demand => ({
  name: 'provider.order',
  passes: (replica) => names.rank(replica) !== null,
  says: () => 'are not named by provider.order, and provider.allow_fallbacks is false',
})

/** The terms of business: privacy, weights' precision, place, tier and price. */
function addTerms(list: Demand[], preferences: ProviderPreferences): void {
  const { dataCollection, quantizations, region, tier } = preferences
  if (dataCollection === 'deny')
    list.push({
      name: 'provider.data_collection',
      passes: (replica) => replica.dataCollection === 'deny',
      says: () => 'may keep or learn from prompts',
    })
  if (quantizations.length > 0) {
    const wanted = new Set(quantizations.map((name) => name.toLowerCase()))
    list.push({
      name: 'provider.quantizations',
      passes: (replica) => wanted.has(quantizationOf(replica)),
      says: (failing) => `run ${listOf(failing.map(quantizationOf))}, not ${listOf(wanted)}`,
    })
  }
  if (region.length > 0) {
    const wanted = region.map((name) => name.toLowerCase())
    list.push({
      name: 'provider.region',
      passes: (replica) => wanted.some((name) => isWithin(replica.region, name)),
      says: (failing) =>
        `are in ${listOf(failing.map((replica) => replica.region ?? 'an unknown region'))}, not in ${listOf(wanted)}`,
    })
  }
  if (tier.length > 0)
    list.push({
      name: 'provider.tier',
      passes: (replica) => tier.includes(replica.tier),
      says: (failing) =>
        `are of tier ${listOf(failing.map((replica) => replica.tier))}, not ${listOf(tier)}`,
    })
  addPriceLimits(list, preferences)
}

function addPriceLimits(list: Demand[], preferences: ProviderPreferences): void {
  for (const side of ['input', 'output'] as const) {
    const limit = side === 'input' ? preferences.maxInputPrice : preferences.maxOutputPrice
    if (limit === null) continue
    const priceOf = (replica: Replica): bigint =>
      side === 'input' ? replica.price.inputNanoUsdPerMTok : replica.price.outputNanoUsdPerMTok
    list.push({
      name: `provider.max_price.${side === 'input' ? 'prompt' : 'completion'}`,
      passes: (replica) => priceOf(replica) <= limit,
      says: (failing) => {
        const cheapest = failing.map(priceOf).reduce((a, b) => (b < a ? b : a))
        return `ask an ${side} price above $${formatUsd(limit)} per million tokens, the cheapest of them $${formatUsd(cheapest)}`
      },
    })
  }
}

/** OpenRouter's word for weights whose precision nobody stated. */
const quantizationOf = (replica: Replica): string =>
  replica.quantization?.toLowerCase() ?? 'unknown'

/** `eu` holds `eu` and `eu-de`, not `europa`. */
function isWithin(region: string | null, wanted: string): boolean {
  const name = region?.toLowerCase()
  return name !== undefined && (name === wanted || name.startsWith(`${wanted}-`))
}

const MAX_LISTED = 4 // names in one sentence of a message

function listOf(names: Iterable<string>): string {
  const all = [...new Set(names)]
  const shown = all.slice(0, MAX_LISTED).join(', ')
  return all.length > MAX_LISTED ? `${shown}, …` : shown
}
