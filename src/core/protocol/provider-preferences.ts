/**
 * The `provider` object of a request: OpenRouter's names, so that their users need to learn nothing, plus
 * `region`, `tier`, `resume` and `hedge`. https://openrouter.ai/docs/features/provider-routing
 */
import { isRefusal, refuse, type Refusal } from '../base/refusal.ts'
import type { NanoUsd } from '../base/money.ts'
import { TIERS, type Tier } from './tier.ts'
import {
  at,
  boundedNumber,
  isRecord,
  oneOf,
  optionalBoolean,
  stringList,
  unknown,
  type Fields,
} from './read-fields.ts'

export type ProviderPreferences = {
  /** Node ids or provider names to try first, in this order. */
  readonly order: readonly string[]
  readonly only: readonly string[]
  readonly ignore: readonly string[]
  readonly allowFallbacks: boolean
  readonly requireParameters: boolean
  readonly dataCollection: 'allow' | 'deny'
  readonly quantizations: readonly string[]
  readonly sort: 'price' | 'throughput' | 'latency' | null
  /** Nano-dollars per million tokens; null: no limit. */
  readonly maxInputPrice: NanoUsd | null
  readonly maxOutputPrice: NanoUsd | null
  /** Tokens per second, and seconds to the first token: replicas that miss them come last. */
  readonly minThroughput: number | null
  readonly maxLatencyS: number | null
  readonly region: readonly string[]
  readonly tier: readonly Tier[]
  /** What happens when the node dies mid-answer. */
  readonly resume: 'continue' | 'restart' | 'fail'
  /** Ask a second node when the first is late; costs up to one more prompt. */
  readonly hedge: boolean
}

export const ANY_PROVIDER: ProviderPreferences = {
  order: [],
  only: [],
  ignore: [],
  allowFallbacks: true,
  requireParameters: false,
  dataCollection: 'allow',
  quantizations: [],
  sort: null,
  maxInputPrice: null,
  maxOutputPrice: null,
  minThroughput: null,
  maxLatencyS: null,
  region: [],
  tier: [],
  resume: 'continue',
  hedge: false,
}

const MAX_NAMES = 64
const KNOWN = new Set([
  'order',
  'only',
  'ignore',
  'allow_fallbacks',
  'require_parameters',
  'data_collection',
  'zdr',
  'quantizations',
  'sort',
  'max_price',
  'preferred_min_throughput',
  'preferred_max_latency',
  'region',
  'tier',
  'resume',
  'hedge',
])

export function readProviderPreferences(value: unknown): ProviderPreferences | Refusal {
  if (value == null) return ANY_PROVIDER
  if (!isRecord(value))
    return refuse('invalid_value', `'provider' must be an object; got ${at(value)}.`, {
      param: 'provider',
    })
  for (const key of Object.keys(value)) {
    if (!KNOWN.has(key)) return unknown(`provider.${key}`)
  }
  const names = readNames(value)
  if (isRefusal(names)) return names
  const choices = readChoices(value)
  if (isRefusal(choices)) return choices
  const limits = readLimits(value)
  if (isRefusal(limits)) return limits
  return { ...names, ...choices, ...limits }
}

type Names = Pick<
  ProviderPreferences,
  'order' | 'only' | 'ignore' | 'quantizations' | 'region' | 'tier'
>

function readNames(value: Fields): Names | Refusal {
  const lists: Record<string, readonly string[]> = {}
  for (const key of ['order', 'only', 'ignore', 'quantizations', 'region', 'tier']) {
    const list = stringList(value, key, MAX_NAMES, 100, 'provider.')
    if (isRefusal(list)) return list
    lists[key] = list
  }
  const { order = [], only = [], ignore = [], quantizations = [], region = [] } = lists
  const tier: Tier[] = []
  for (const name of lists['tier'] ?? []) {
    const known = TIERS.find((one) => one === name)
    if (!known)
      return refuse(
        'invalid_value',
        `'provider.tier' knows ${TIERS.join(', ')}; got ${at(name)}.`,
        { param: 'provider.tier' },
      )
    tier.push(known)
  }
  return { order, only, ignore, quantizations, region, tier }
}

type Choices = Pick<
  ProviderPreferences,
  'allowFallbacks' | 'requireParameters' | 'dataCollection' | 'sort' | 'resume' | 'hedge'
>

function readChoices(value: Fields): Choices | Refusal {
  const allowFallbacks = optionalBoolean(value, 'allow_fallbacks', true, 'provider.')
  if (isRefusal(allowFallbacks)) return allowFallbacks
  const requireParameters = optionalBoolean(value, 'require_parameters', false, 'provider.')
  if (isRefusal(requireParameters)) return requireParameters
  const zdr = optionalBoolean(value, 'zdr', false, 'provider.')
  if (isRefusal(zdr)) return zdr
  const hedge = optionalBoolean(value, 'hedge', false, 'provider.')
  if (isRefusal(hedge)) return hedge
  const collection = oneOf(value, 'data_collection', ['allow', 'deny'], 'allow', 'provider.')
  if (isRefusal(collection)) return collection
  const resume = oneOf(value, 'resume', ['continue', 'restart', 'fail'], 'continue', 'provider.')
  if (isRefusal(resume)) return resume
  const sort =
    value['sort'] == null
      ? null
      : oneOf(value, 'sort', ['price', 'throughput', 'latency'], 'price', 'provider.')
  if (isRefusal(sort)) return sort
  // A node that keeps nothing satisfies both: here zero data retention is the stronger word for 'deny'.
  const dataCollection = zdr ? 'deny' : collection
  return { allowFallbacks, requireParameters, dataCollection, sort, resume, hedge }
}

type Limits = Pick<
  ProviderPreferences,
  'maxInputPrice' | 'maxOutputPrice' | 'minThroughput' | 'maxLatencyS'
>

function readLimits(value: Fields): Limits | Refusal {
  const price = value['max_price'] ?? {}
  if (!isRecord(price))
    return refuse('invalid_value', `'provider.max_price' must be an object; got ${at(price)}.`, {
      param: 'provider.max_price',
    })
  for (const key of Object.keys(price)) {
    if (key !== 'prompt' && key !== 'completion')
      return refuse(
        'unknown_parameter',
        `Unknown parameter: 'provider.max_price.${key.slice(0, 100)}'.`,
        { param: 'provider.max_price' },
      )
  }
  const maxInputPrice = usdPerMTok(price, 'prompt')
  if (isRefusal(maxInputPrice)) return maxInputPrice
  const maxOutputPrice = usdPerMTok(price, 'completion')
  if (isRefusal(maxOutputPrice)) return maxOutputPrice
  const minThroughput = boundedNumber(value, 'preferred_min_throughput', 0, 1e9, -1)
  if (isRefusal(minThroughput)) return minThroughput
  const maxLatencyS = boundedNumber(value, 'preferred_max_latency', 0, 1e9, -1)
  if (isRefusal(maxLatencyS)) return maxLatencyS
  return {
    maxInputPrice,
    maxOutputPrice,
    minThroughput: minThroughput < 0 ? null : minThroughput,
    maxLatencyS: maxLatencyS < 0 ? null : maxLatencyS,
  }
}

/** Dollars per million tokens, as OpenRouter writes them: a number, or a number as text. */
function usdPerMTok(price: Fields, key: string): NanoUsd | null | Refusal {
  const value = price[key]
  if (value == null) return null
  const dollars = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof dollars === 'number' && dollars >= 0 && dollars <= 1_000_000)
    return BigInt(Math.round(dollars * 1e9))
  return refuse(
    'invalid_value',
    `'provider.max_price.${key}' must be dollars per million tokens, 0 to 1000000; got ${at(value)}.`,
    { param: `provider.max_price.${key}` },
  )
}
