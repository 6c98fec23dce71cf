/**
 * What to do when an attempt breaks. Never are unlike texts glued: what goes on after text that the tenant has
 * seen either continues from it (by ids or by text, with the same weights) or repeats it byte for byte.
 */
import { isRefusal, refuse, type Refusal } from '../base/refusal.ts'
import type { Millis } from '../base/time.ts'
import type { Api } from '../protocol/inference-request.ts'
import type { Capability } from '../protocol/offer.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import { chooseReplica, type Choice, type Full } from './choose.ts'
import type { Replica } from './replica.ts'

export type Broken = {
  readonly api: Api
  readonly preference: ProviderPreferences['resume']
  /** JSON formats are held until whole: a grammar starts over, and nobody sees it. */
  readonly structured: boolean
  /** Temperature above 0. */
  readonly sampled: boolean
  /** Whether any of the answer has reached the tenant. */
  readonly shown: boolean
  /** Tokens that earlier attempts gave, and whether the ids of all of them are known. */
  readonly tokens: number
  readonly idsKnown: boolean
  /** Whether what was given can be sent to a node at all: a header holds only so much. */
  readonly fits: boolean
  /** Of the whole answer; null: as much as the context holds. */
  readonly maxTokens: number | null
  readonly digest: string
  readonly engineFamily: string
  /** Attempts so far for this choice, the broken one included. */
  readonly attempts: number
  /** How many of them, the last ones in a row, gave no token at all. */
  readonly fruitless: number
  readonly reason: string
  readonly now: Millis
  readonly deadline: Millis
}

/** How to go on, and what a replica must have for it besides the request's own needs. */
export type ResumePlan = {
  readonly kind: 'resume_ids' | 'resume_text' | 'replay' | 'restart'
  readonly needs: readonly Capability[]
  readonly digest: string | null
  readonly engineFamily: string | null
}

/** Only the END is missing: the answer already has all the tokens it may have. */
export type WholeAlready = { readonly kind: 'whole' }

/** At one node failure in 20 s, eight attempts of 5 s fail together once in 60,000 times. */
export const MAX_FRUITLESS_ATTEMPTS = 8
/** A long answer may outlive many nodes as long as it grows; a request that kills nodes must not meet them all. */
export const MAX_ATTEMPTS_PER_CHOICE = 32

/** The ways to go on, best first; never an empty list. Or the answer is whole, or it fails: `node_failed`. */
export function planResume(broken: Broken): readonly ResumePlan[] | WholeAlready | Refusal {
  const { tokens, maxTokens, attempts, fruitless, now, deadline, reason } = broken
  if (broken.api !== 'embedding' && tokens > 0 && tokens === maxTokens) return { kind: 'whole' }
  if (fruitless >= MAX_FRUITLESS_ATTEMPTS)
    return failed(broken, `${fruitless} attempts in a row gave nothing, the last one: ${reason}`)
  if (attempts >= MAX_ATTEMPTS_PER_CHOICE)
    return failed(broken, `${attempts} attempts failed, the last one: ${reason}`)
  if (now >= deadline)
    return failed(broken, `its time was up after ${attempts} attempts, the last one: ${reason}`)
  if (tokens === 0 && !broken.shown) return [RESTART]
  if (broken.preference === 'fail')
    return failed(broken, `a node was lost (${reason}), and provider.resume is 'fail'`)
  const plans = [...continuations(broken), ...repetitions(broken)]
  return plans.length > 0 ? plans : failed(broken, `${reason}; what was sent cannot be continued`)
}

const RESTART: ResumePlan = { kind: 'restart', needs: [], digest: null, engineFamily: null }

/** The same sample first, then another true sample of the same weights. */
function continuations(broken: Broken): ResumePlan[] {
  const { digest, engineFamily, idsKnown, sampled } = broken
  if (broken.structured || broken.api === 'embedding' || broken.preference !== 'continue') return []
  if (!broken.fits) return []
  const byText: ResumePlan = {
    kind: 'resume_text',
    needs: ['resume_text'],
    digest,
    engineFamily: null,
  }
  if (!idsKnown) return [byText]
  const same: readonly Capability[] = sampled ? ['resume_ids', 'positional_seed'] : ['resume_ids']
  return [
    { kind: 'resume_ids', needs: same, digest, engineFamily },
    { kind: 'resume_ids', needs: ['resume_ids'], digest, engineFamily: null },
    byText,
  ]
}

/** From the start again: freely while nobody has seen anything, else only where the text comes out the same. */
function repetitions({ shown, structured, sampled, digest, engineFamily }: Broken): ResumePlan[] {
  if (!shown) return [RESTART]
  if (structured) return []
  return [{ kind: 'replay', needs: sampled ? ['seed'] : [], digest, engineFamily }]
}

const failed = ({ tokens, attempts }: Broken, why: string): Refusal =>
  refuse('node_failed', `The answer broke off after ${tokens} tokens: ${why}.`, {
    details: { tokens, attempts },
  })

/**
 * The first plan for which a replica is free. Full, when some plan only waits for a slot; else the refusal of
 * the best plan.
 */
export function chooseForPlans(
  choice: Omit<Choice, 'digest' | 'engineFamily'>,
  plans: readonly ResumePlan[],
): { readonly chosen: Replica; readonly plan: ResumePlan } | Full | Refusal {
  let full: Full | null = null
  let refusal: Refusal | null = null
  for (const plan of plans) {
    const { digest, engineFamily } = plan
    const needs = [...choice.needs, ...plan.needs]
    const answer = chooseReplica({ ...choice, needs, digest, engineFamily })
    if ('chosen' in answer) return { chosen: answer.chosen, plan }
    if (isRefusal(answer)) refusal ??= answer
    else full ??= answer
  }
  const answer = full ?? refusal
  if (!answer) throw new RangeError('no plan to choose for')
  return answer
}
