/** What is next for payouts, and why nothing is: decided from the ledger's and the chain's state, with no side effect. */
import { formatUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { PayoutState, PayoutTerms } from '../../../io/chain/payouts-contract.ts'
import { NANO_USD_PER_UNIT, type PayoutEpoch } from '../../../io/store/payout-records.ts'

export type PayoutFacts = {
  readonly now: Millis
  readonly epochMs: Millis
  readonly open: PayoutEpoch
  /** The newest closed epoch; null: none was ever closed. */
  readonly last: PayoutEpoch | null
  readonly state: PayoutState
  readonly terms: PayoutTerms
  /** Units that an epoch closed now would add, and the sum of all leaves then. */
  readonly due: { readonly units: bigint; readonly totalUnits: bigint }
  readonly wallet: { readonly balanceUnits: bigint; readonly allowanceUnits: bigint }
  /** Purposes of actions of payouts that are not mined yet. */
  readonly underWay: readonly string[]
}

export type PayoutStep =
  | { readonly do: 'wait'; readonly why: string; readonly wantsTokens: boolean }
  | { readonly do: 'approve' }
  | { readonly do: 'bond'; readonly units: bigint }
  | { readonly do: 'close'; readonly fundUnits: bigint; readonly evenIfNothing: boolean }

/** A chain's clock may run behind ours by so much; blocks on an idle chain are older still. */
const CHAIN_LAG_S = 30

export function nextPayoutStep(facts: PayoutFacts): PayoutStep {
  const { now, epochMs, open, state, terms, due, wallet, underWay } = facts
  if (underWay.length > 0) return wait(`waiting until ${underWay.join(', ')} is mined`)
  // The last root was refused by the contract, or voided by a challenge: its leaves need another one.
  const evenIfNothing = isLost(facts)
  if (due.units === 0n && !evenIfNothing) return wait('nothing is owed that no root has')
  const closesAt = open.openedAt + epochMs
  if (now < closesAt) return wait(`epoch ${open.number} closes at ${timeText(closesAt)}`)
  const blocked = whyNoRoot(state, now)
  if (blocked !== null) return wait(blocked)

  const bondUnits = above(terms.minBondUnits, state.bondUnits)
  const fundUnits = above(due.totalUnits, state.depositedUnits)
  const needed = bondUnits + fundUnits
  if (wallet.balanceUnits < needed)
    return wait(
      `the operator's wallet has ${usd(wallet.balanceUnits)} of ${usd(needed)} that the root of epoch ${open.number} needs (${usd(fundUnits)} for claims, ${usd(bondUnits)} for the bond): claims from channels come first, or send it money`,
      true,
    )
  if (wallet.allowanceUnits < needed) return { do: 'approve' }
  if (bondUnits > 0n) return { do: 'bond', units: bondUnits }
  return { do: 'close', fundUnits, evenIfNothing }
}

/** Neither counting nor pending, though it was closed. */
function isLost({ last, state }: PayoutFacts): boolean {
  const root = last?.closed?.root
  return root !== undefined && root !== state.root && root !== state.pending?.root
}

/** The contract takes one root at a time. */
function whyNoRoot(
  { pending, epoch, openChallenges, block }: PayoutState,
  now: Millis,
): string | null {
  if (pending === null) return null
  if (openChallenges > 0)
    return `the root of epoch ${epoch} is challenged (${openChallenges} open): it must be answered first`
  const chainNow = Math.max(block.timestamp, Math.floor(now / 1000) - CHAIN_LAG_S)
  return chainNow < pending.countsFrom
    ? `the root of epoch ${epoch} can be challenged until ${timeText(pending.countsFrom * 1000)}`
    : null
}

const wait = (why: string, wantsTokens = false): PayoutStep => ({ do: 'wait', why, wantsTokens })
const above = (wanted: bigint, there: bigint): bigint => (wanted > there ? wanted - there : 0n)
const usd = (units: bigint): string => `$${formatUsd(units * NANO_USD_PER_UNIT)}`
const timeText = (at: Millis): string => new Date(at).toISOString()
