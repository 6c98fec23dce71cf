/** What a transaction offers for a unit of gas (EIP-1559), wei. */
export type Fees = { readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }

/**
 * Room for the base fee to double, which takes six full blocks; never above `capWei`. Null: even the base fee is above it,
 * and the transaction has to wait.
 */
export function firstFees(baseFeeWei: bigint, tipWei: bigint, capWei: bigint): Fees | null {
  if (baseFeeWei > capWei) return null
  const maxFeePerGas = least(2n * baseFeeWei + tipWei, capWei)
  return { maxFeePerGas, maxPriorityFeePerGas: least(tipWei, maxFeePerGas) }
}

/**
 * Enough to take the place of `before`: servers ask for an eighth more of both. Null: the cap allows no such raise.
 */
export function raisedFees(before: Fees, fresh: Fees | null, capWei: bigint): Fees | null {
  const maxFeePerGas = most(anEighthMore(before.maxFeePerGas), fresh?.maxFeePerGas ?? 0n)
  const maxPriorityFeePerGas = most(
    anEighthMore(before.maxPriorityFeePerGas),
    fresh?.maxPriorityFeePerGas ?? 0n,
  )
  if (maxFeePerGas > capWei) return null
  return { maxFeePerGas, maxPriorityFeePerGas: least(maxPriorityFeePerGas, maxFeePerGas) }
}

/** Rounded up, and more than nothing. */
const anEighthMore = (wei: bigint): bigint => (wei === 0n ? 1n : (wei * 9n + 7n) / 8n)
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b)
