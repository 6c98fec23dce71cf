/** What a request cost and who did it: for headers, for the `baseload` object, and for the log's line. */
import { formatUsd, priceTokens, type NanoUsd } from '../../core/base/money.ts'
import { savingAgainst, type ListPrice } from '../../core/routing/saving.ts'
import type { HeaderList } from '../../io/http/respond.ts'
import type { Attempt } from './attempt.ts'
import type { Choice } from './choice.ts'
import type { Usage } from './render-generation.ts'

export type Bill = {
  readonly usage: Usage
  readonly nanoUsd: NanoUsd
  /** `nanoUsd` in dollars, for people. */
  readonly usd: string
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
  const attempts: string[] = []
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
  const usd = formatUsd(nanoUsd)
  const json =
    `{"attempts":[${attempts.join(',')}],"seeds":[${seeds.join(',')}],"price_nano_usd":"${nanoUsd}",` +
    `"price_usd":"${usd}","saving":${JSON.stringify(saving)}}`
  return {
    usage,
    nanoUsd,
    usd,
    nodes,
    receipts,
    attempts: attempts.length,
    saving: saving?.percent ?? null,
    json,
  }
}

export function billHeaders(bill: Bill): HeaderList {
  const { attempts, nodes, receipts, usd, saving } = bill
  return [
    'x-baseload-attempts',
    String(attempts),
    'x-baseload-node',
    nodes.join(', '),
    'x-baseload-receipt',
    receipts.join(', '),
    'x-baseload-price-usd',
    usd,
    ...(saving === null ? [] : ['x-baseload-saving', saving]),
  ]
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

/** As JSON, put together by hand: ids need no escaping, and this is in every answer. */
function describe(attempt: Attempt): string {
  const { failure, link, replica, ids, header } = attempt
  const model = JSON.stringify(replica.model)
  const receipt = ids.length > 0 || attempt.result ? `,"receipt":"${attempt.receipt}"` : ''
  const reason = failure ? `,"reason":${JSON.stringify(failure.reason)}` : ''
  return (
    `{"node":"${link.node}","model":${model},"tokens":${ids.length},"choice":${header.choice}${receipt},` +
    `"outcome":"${failure?.kind ?? 'ok'}"${reason}}`
  )
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
