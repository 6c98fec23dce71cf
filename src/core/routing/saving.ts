/** What a bill is worth beside a named public list price: provider, product, date and tier always with it. */
import { priceTokens, type NanoUsd, type TokenPrice } from '../base/money.ts'

export type ListPrice = TokenPrice & {
  readonly provider: string
  readonly product: string
  /** When the list was read, YYYY-MM-DD. */
  readonly date: string
  /** Region and purchase tier, e.g. `us-east-1, on-demand`. */
  readonly tier: string
}

export type Saving = {
  /** What the same tokens cost by the list. */
  readonly listNanoUsd: NanoUsd
  /** Negative when the list is cheaper: then the bill says so. */
  readonly savedNanoUsd: NanoUsd
  /** Of the list's sum, in tenths of a percent; null when the list is free. */
  readonly percent: number | null
}

export function savingAgainst(
  paidNanoUsd: NanoUsd,
  inputTokens: number,
  outputTokens: number,
  list: ListPrice,
): Saving {
  const listed = priceTokens({ inputTokens, outputTokens, price: list, carry: 0n }).nanoUsd
  const saved = listed - paidNanoUsd
  const percent = listed === 0n ? null : Number((saved * 1000n) / listed) / 10
  return { listNanoUsd: listed, savedNanoUsd: saved, percent }
}
