/**
 * How far the next voucher may go. A voucher is a promise up to its ceiling, so that the payer decides, whatever the
 * gateway asks: never above the deposit, the budget, or what was agreed for one time.
 */

export type TopUpState = {
  /** The highest ceiling that was ever signed for the channel; 0: none. */
  readonly signedUnits: bigint
  /** What the channel holds, final. */
  readonly depositUnits: bigint
  /** The ceilings of the payee's other channels, summed. */
  readonly otherSignedUnits: bigint
  /** All that may ever be signed for the payee; null: what is deposited is the limit. */
  readonly budgetUnits: bigint | null
  /** By how much a voucher usually raises the ceiling. */
  readonly stepUnits: bigint
  /** By how much one voucher may raise it at most, where one request costs more than a step. */
  readonly atOnceUnits: bigint
}

export type TopUp =
  | { readonly ceiling: bigint }
  | {
      readonly refused: 'deposit_used_up' | 'budget_used_up' | 'voucher_too_large'
      /** The highest ceiling that may be signed now. */
      readonly limitUnits: bigint
    }

/**
 * The ceiling to sign where the gateway needs `needUnits`. It never lowers one: where as much is signed already, the
 * same voucher goes out again, since the gateway has lost it or never got it.
 */
export function decideTopUp(state: TopUpState, needUnits: bigint): TopUp {
  const { signedUnits, depositUnits, otherSignedUnits, budgetUnits, stepUnits } = state
  if (needUnits <= signedUnits) return { ceiling: signedUnits }
  if (needUnits > depositUnits) return { refused: 'deposit_used_up', limitUnits: depositUnits }
  const budget = budgetUnits === null ? depositUnits : budgetUnits - otherSignedUnits
  if (needUnits > budget) return { refused: 'budget_used_up', limitUnits: max(budget, signedUnits) }
  const atOnce = signedUnits + state.atOnceUnits
  if (needUnits > atOnce) return { refused: 'voucher_too_large', limitUnits: atOnce }
  return { ceiling: min(max(needUnits, signedUnits + stepUnits), depositUnits, budget, atOnce) }
}

const min = (first: bigint, ...others: bigint[]): bigint =>
  others.reduce((least, one) => (one < least ? one : least), first)
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
