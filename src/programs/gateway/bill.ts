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
  const attempts = choices.flatMap((choice) => choice.attempts)
  const paying = choices.flatMap((choice) => choice.paying.map((attempt) => ({ attempt, choice })))
  let nanoUsd = 0n
  for (const { attempt, choice } of paying) nanoUsd += priceOf(attempt, choice.inputTokens)
  const usage = usageOf(choices, n)
  const saving = savingText(nanoUsd, usage, listPrices.get(paying[0]?.attempt.replica.model ?? ''))
  const seeds = choices.map((choice) => choice.seed)
  const json = JSON.stringify({
    attempts: attempts.map(describe),
    seeds,
    price_nano_usd: String(nanoUsd),
    price_usd: formatUsd(nanoUsd),
    ...saving,
  })
  return {
    usage,
    nanoUsd,
    nodes: [...new Set(paying.map(({ attempt }) => attempt.link.node))],
    receipts: paying.map(({ attempt }) => attempt.receipt),
    attempts: attempts.length,
    saving: saving.saving?.percent ?? null,
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

function describe(attempt: Attempt): object {
  const { failure, link, replica, ids, header } = attempt
  const said = { node: link.node, model: replica.model, tokens: ids.length, choice: header.choice }
  const receipt = ids.length > 0 || attempt.result ? { receipt: attempt.receipt } : {}
  return failure
    ? { ...said, ...receipt, outcome: failure.kind, reason: failure.reason }
    : { ...said, ...receipt, outcome: 'ok' }
}

type SavingMember = {
  saving: {
    percent: string
    list_usd: string
    provider: string
    product: string
    date: string
    tier: string
  } | null
}

function savingText(nanoUsd: NanoUsd, usage: Usage, list: ListPrice | undefined): SavingMember {
  if (!list) return { saving: null }
  const { listNanoUsd, percent } = savingAgainst(
    nanoUsd,
    usage.inputTokens,
    usage.outputTokens,
    list,
  )
  const { provider, product, date, tier } = list
  const share = percent === null ? 'none: the list is free' : `${percent} %`
  return {
    saving: { percent: share, list_usd: formatUsd(listNanoUsd), provider, product, date, tier },
  }
}
