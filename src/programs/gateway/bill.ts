/** What a request cost and who did it: for headers, for the `baseload` object, and for the log's line. */
import { formatUsd, priceTokens, type NanoUsd } from '../../core/base/money.ts'
import { savingAgainst, type ListPrice } from '../../core/routing/saving.ts'
import type { Attempt } from './attempt.ts'
import type { Choice } from './choice.ts'
import type { Usage } from './render-generation.ts'

export type Bill = {
  readonly usage: Usage
  readonly nanoUsd: NanoUsd
  readonly nodes: readonly string[]
  readonly receipts: readonly string[]
  readonly attempts: number
  readonly saving: string | null
  /** The `baseload` member of the answer, as JSON. */
  readonly json: string
}

/**
 * The bill of all choices. `n`: choices that share one prompt. Receipts settle it to the nano-dollar: where a
 * price does not divide into whole nano-dollars a token, a receipt may say one more or less than this.
 */
export function billOf(
  choices: readonly Choice[],
  n: number,
  listPrices: ReadonlyMap<string, ListPrice>,
): Bill {
  const attempts: Described[] = []
  const seeds: number[] = []
  const nodes: string[] = []
  const receipts: string[] = []
  let nanoUsd = 0n
  let model = ''
  for (const choice of choices) {
    seeds.push(choice.seed)
    for (const attempt of choice.attempts) attempts.push(describe(attempt))
    for (const attempt of choice.paying) {
      const { node } = attempt.link
      if (!nodes.includes(node)) nodes.push(node)
      receipts.push(attempt.receipt)
      nanoUsd += priceOf(attempt, choice.inputTokens)
      model ||= attempt.replica.model
    }
  }
  const usage = usageOf(choices, n)
  const saving = savingText(nanoUsd, usage, listPrices.get(model))
  const json = JSON.stringify({
    attempts,
    seeds,
    price_nano_usd: String(nanoUsd),
    price_usd: formatUsd(nanoUsd),
    saving,
  })
  return {
    usage,
    nanoUsd,
    nodes,
    receipts,
    attempts: attempts.length,
    saving: saving?.percent ?? null,
    json,
  }
}

export function billHeaders(bill: Bill): Record<string, string> {
  return {
    'x-baseload-attempts': String(bill.attempts),
    'x-baseload-node': bill.nodes.join(', '),
    'x-baseload-receipt': bill.receipts.join(', '),
    'x-baseload-price-usd': formatUsd(bill.nanoUsd),
    ...(bill.saving === null ? {} : { 'x-baseload-saving': bill.saving }),
  }
}

function priceOf(attempt: Attempt, inputTokens: number): NanoUsd {
  const billed = attempt.header.billInput ? inputTokens : 0
  const { price } = attempt
  return priceTokens({ inputTokens: billed, outputTokens: attempt.ids.length, price, carry: 0n })
    .nanoUsd
}

function usageOf(choices: readonly Choice[], n: number): Usage {
  let inputTokens = 0
  let outputTokens = 0
  for (const choice of choices) {
    if (choice.index % n === 0) inputTokens += choice.inputTokens
    outputTokens += choice.answer.ids.length
  }
  return { inputTokens, outputTokens }
}

/** Members that are undefined are not written. */
type Described = {
  node: string
  model: string
  tokens: number
  choice: number
  receipt: string | undefined
  outcome: string
  reason: string | undefined
}

function describe(attempt: Attempt): Described {
  const { failure, link, replica, ids, header } = attempt
  return {
    node: link.node,
    model: replica.model,
    tokens: ids.length,
    choice: header.choice,
    receipt: ids.length > 0 || attempt.result ? attempt.receipt : undefined,
    outcome: failure?.kind ?? 'ok',
    reason: failure?.reason,
  }
}

type SavingText = {
  percent: string
  list_usd: string
  provider: string
  product: string
  date: string
  tier: string
}

function savingText(
  nanoUsd: NanoUsd,
  usage: Usage,
  list: ListPrice | undefined,
): SavingText | null {
  if (!list) return null
  const { listNanoUsd, percent } = savingAgainst(
    nanoUsd,
    usage.inputTokens,
    usage.outputTokens,
    list,
  )
  const { provider, product, date, tier } = list
  const share = percent === null ? 'none: the list is free' : `${percent} %`
  return { percent: share, list_usd: formatUsd(listNanoUsd), provider, product, date, tier }
}
