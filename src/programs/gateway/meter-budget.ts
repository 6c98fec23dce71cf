/**
 * What API keys may still spend. The store knows what a key has spent over all gateways, a moment late; this
 * knows what is reserved and on its way here. Several gateways can together overshoot by that moment.
 */
import { formatUsd, type NanoUsd } from '../../core/base/money.ts'
import { refuse, type Refusal } from '../../core/base/refusal.ts'

/** What the meter needs of an API key: `ApiKey` fits. */
export type MeteredKey = {
  readonly id: string
  /** Null: as much as the account has. */
  readonly budgetNanoUsd: NanoUsd | null
  readonly spentNanoUsd: NanoUsd
}

type Spending = {
  /** The larger of what the store said last and what was spent here since. It only grows. */
  spentNanoUsd: NanoUsd
  reservedNanoUsd: NanoUsd
  /** Since the store was asked last. */
  used: boolean
}

export class KeyBudgets {
  /** Every key with a budget that was used here: some hundred bytes each. */
  readonly #keys = new Map<string, Spending>()

  /** Null when the key may spend so much more, which is reserved from now on. */
  reserve(key: MeteredKey, ceilingNanoUsd: NanoUsd): Refusal | null {
    const { id, budgetNanoUsd } = key
    if (budgetNanoUsd === null) return null
    const spending = this.#of(key)
    const left = budgetNanoUsd - spending.spentNanoUsd - spending.reservedNanoUsd
    if (ceilingNanoUsd > left) return overBudget(id, budgetNanoUsd, left, ceilingNanoUsd)
    spending.reservedNanoUsd += ceilingNanoUsd
    return null
  }

  #of({ id, spentNanoUsd }: MeteredKey): Spending {
    let spending = this.#keys.get(id)
    if (!spending) {
      spending = { spentNanoUsd, reservedNanoUsd: 0n, used: true }
      this.#keys.set(id, spending)
    }
    spending.used = true
    if (spentNanoUsd > spending.spentNanoUsd) spending.spentNanoUsd = spentNanoUsd
    return spending
  }

  /** `reservedNanoUsd` of a reservation became `costNanoUsd` of a settlement. */
  spend(key: MeteredKey, reservedNanoUsd: NanoUsd, costNanoUsd: NanoUsd): void {
    this.release(key, reservedNanoUsd)
    this.spendLate(key.id, costNanoUsd)
  }

  /** Without a reservation; a key that is not known here is not being limited here. */
  spendLate(id: string, costNanoUsd: NanoUsd): void {
    const spending = this.#keys.get(id)
    if (spending) spending.spentNanoUsd += costNanoUsd
  }

  /** `key` as it was when it was reserved on: without a budget then, there is nothing to release. */
  release(key: MeteredKey, reservedNanoUsd: NanoUsd): void {
    const spending = key.budgetNanoUsd === null ? undefined : this.#keys.get(key.id)
    if (spending) spending.reservedNanoUsd -= reservedNanoUsd
  }

  /** The keys used since this was asked last. */
  takeUsed(): string[] {
    const used: string[] = []
    for (const [id, spending] of this.#keys) {
      if (spending.used) used.push(id)
      spending.used = false
    }
    return used
  }

  /** What the store says: other gateways spend from the same keys. */
  learn(spentByKey: ReadonlyMap<string, NanoUsd>): void {
    for (const [id, stored] of spentByKey) {
      const spending = this.#keys.get(id)
      if (spending && stored > spending.spentNanoUsd) spending.spentNanoUsd = stored
    }
  }
}

function overBudget(id: string, budget: NanoUsd, left: NanoUsd, need: NanoUsd): Refusal {
  const have = left > 0n ? left : 0n
  return refuse(
    'key_budget_exceeded',
    `The key ${id} has $${formatUsd(have)} left of its budget of $${formatUsd(budget)}, and this request could cost up to ` +
      `$${formatUsd(need)}. Raise the budget, lower max_tokens, or use another key.`,
    { details: { key: id, have, need, budget } },
  )
}
