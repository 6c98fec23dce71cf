/** Amounts of a token as people write them. One unit is the smallest the token has: 0.000001 USDC. */

/** Far above every supply there is, and below the contracts' uint128. */
const MAX_WHOLE_DIGITS = 15

/**
 * '12.34' → 12340000n at 6 decimals. Null for anything but plain digits with at most so many decimals: no sign, no
 * exponent, no comma, no spaces, nothing that would be rounded.
 */
export function parseUnits(text: string, decimals: number): bigint | null {
  const [, whole, fraction = ''] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined || whole.length > MAX_WHOLE_DIGITS || fraction.length > decimals)
    return null
  return BigInt(whole + fraction.padEnd(decimals, '0'))
}

/** 12340000n → '12.34' at 6 decimals: every unit is shown, at least two decimals, never an exponent. */
export function formatUnits(units: bigint, decimals: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, '0')
  const [whole, fraction] = [digits.slice(0, -decimals || undefined), digits.slice(-decimals)]
  const shown = decimals === 0 ? '' : fraction.replace(/0+$/, '').padEnd(Math.min(2, decimals), '0')
  return `${units < 0n ? '-' : ''}${whole}${shown === '' ? '' : `.${shown}`}`
}
