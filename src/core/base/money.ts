/**
 * Money is nano-dollars (1e-9 USD) in a bigint, and a decimal string of nano-dollars on the wire.
 * Nothing here ever meets a floating-point number but for display.
 */
export type NanoUsd = bigint

export const NANO_PER_USD = 1_000_000_000n

/** Tokens are priced by the million, as the field does. */
export const TOKENS_PER_PRICE_UNIT = 1_000_000n

/** The dearest price a sheet may name: $1,000,000 per million tokens keeps every product far below 2^63. */
export const MAX_NANO_USD_PER_MTOK: NanoUsd = 1_000_000n * NANO_PER_USD

/** What one model costs at one node, in nano-dollars per million tokens. */
export type TokenPrice = {
  readonly inputNanoUsdPerMTok: NanoUsd
  readonly outputNanoUsdPerMTok: NanoUsd
}

/** Millionths of a nano-dollar, 0 ≤ n < 1,000,000: the fraction that `priceTokens` carries on. */
export type Carry = bigint

/**
 * The one place where money is rounded. Price = ⌊(tokens × price + carry) / 10⁶⌋; the remainder is the
 * next carry, so over a chain of receipts not a millionth of a nano-dollar is lost or invented.
 */
export function priceTokens(input: {
  inputTokens: number
  outputTokens: number
  price: TokenPrice
  carry: Carry
}): { nanoUsd: NanoUsd; carry: Carry } {
  const exact =
    BigInt(input.inputTokens) * input.price.inputNanoUsdPerMTok +
    BigInt(input.outputTokens) * input.price.outputNanoUsdPerMTok +
    input.carry
  return { nanoUsd: exact / TOKENS_PER_PRICE_UNIT, carry: exact % TOKENS_PER_PRICE_UNIT }
}

/** The most that so many tokens can cost, whatever fraction is carried in: for holds and budgets. */
export function priceCeiling(
  inputTokens: number,
  outputTokens: number,
  price: TokenPrice,
): NanoUsd {
  const carry = TOKENS_PER_PRICE_UNIT - 1n
  return priceTokens({ inputTokens, outputTokens, price, carry }).nanoUsd
}

/** '12.34' → 12340000000n. Null for anything that is not a plain decimal of at most nine places. */
export function parseUsd(text: string): NanoUsd | null {
  const match = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text.trim())
  if (!match) return null
  const [, sign = '', whole = '0', fraction = ''] = match
  const nano = BigInt(whole) * NANO_PER_USD + BigInt(fraction.padEnd(9, '0'))
  return sign === '-' ? -nano : nano
}

/** 12340000000n → '12.34'. At least two places, no more than needed, never an exponent. */
export function formatUsd(nanoUsd: NanoUsd): string {
  const sign = nanoUsd < 0n ? '-' : ''
  const magnitude = nanoUsd < 0n ? -nanoUsd : nanoUsd
  const fraction = (magnitude % NANO_PER_USD).toString().padStart(9, '0').replace(/0+$/, '')
  return `${sign}${magnitude / NANO_PER_USD}.${fraction.padEnd(2, '0')}`
}

/** '1200000' → 1200000n, for amounts read off a wire. Null unless a plain non-negative decimal integer. */
export function parseNanoUsd(text: unknown): NanoUsd | null {
  return typeof text === 'string' && /^\d{1,18}$/.test(text) ? BigInt(text) : null
}
