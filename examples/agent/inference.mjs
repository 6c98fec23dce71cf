// Buys answers from a gateway where this program has no account: x402's own client pays each request from one channel, and
// the receipts that the nodes signed are checked here.
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client'
import { FileClientChannelStorage } from '@x402/evm/batch-settlement/client/file-storage'
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch'
import { provenReceiptSchema, verifyReceipt } from 'baseload/verify'
import { BudgetReached } from './purse.mjs'

/** The gateway did not take the payment, and did not answer. */
export class NotPaid extends Error {}

export async function readJson(url, init) {
  const response = await fetch(url, init)
  const text = await response.text()
  if (response.ok) return JSON.parse(text)
  throw new Error(
    `${init?.method ?? 'GET'} ${url} answered ${response.status}: ${text.slice(0, 500)}`,
  )
}

const price = ({ pricing }) => Number(pricing.prompt) + Number(pricing.completion)

/** The model that the budget lasts longest with, of those that chat. */
export async function findModel(gateway, wanted) {
  const { data } = await readJson(`${gateway}/v1/models`)
  const models = data.filter(({ id }) => wanted === undefined || id === wanted)
  if (models.length === 0) throw new Error(`${gateway} serves ${wanted ?? 'no model'} just now`)
  return models.toSorted((a, b) => price(a) - price(b))[0]
}

/** `ask` buys one answer: { text, tokens, nanoUsd, toldUnits, receipts }. Throws BudgetReached when the purse does not pay for it. */
export function openShop({ gateway, chain, purse, signer, folder, budget }) {
  const network = `eip155:${chain.chain_id}`
  const scheme = new BatchSettlementEvmScheme(signer, {
    // Where the channel stands is remembered over restarts; the purse would not let it grow again anyway.
    storage: new FileClientChannelStorage({ directory: folder }),
    // One deposit, as large as may be: each is a transaction that somebody pays for.
    depositStrategy: ({ minimumDepositAmount }) => {
      const free = budget - purse.moved - purse.reserved
      if (free >= BigInt(minimumDepositAmount)) return free
      throw new BudgetReached(`a deposit of ${minimumDepositAmount} units; ${free} are free`)
    },
  })
  const asset = chain.token.address
  const client = x402Client.fromConfig({
    schemes: [{ network, client: scheme }],
    // The purse says how much; this only names the token.
    spendControls: { allowedAssets: [{ network, asset, maxAmountPerPayment: String(10n ** 15n) }] },
  })
  let refused = null
  client.onPaymentCreationFailure(async ({ error }) => {
    refused = error instanceof BudgetReached ? error : null
  })
  const pay = wrapFetchWithPayment(fetch, client)

  async function ask({ model, prompt, maxTokens, onText }) {
    const body = JSON.stringify({
      model,
      messages: [{ role: 'user', content: prompt }],
      max_tokens: maxTokens,
      stream: onText !== undefined,
    })
    refused = null
    const response = await pay(`${gateway}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    }).catch((error) => {
      throw refused ?? error
    })
    if (!response.ok) {
      const why = `${response.status}: ${(await response.text()).slice(0, 500)}`
      throw response.status === 402 ? new NotPaid(why) : new Error(why)
    }
    const { text, bill } = onText ? await readStream(response, onText) : await readWhole(response)
    const { extra } = decodePaymentResponseHeader(response.headers.get('payment-response'))
    const { channelId, chargedCumulativeAmount } = extra.channelState
    return {
      text,
      body,
      channelId,
      nanoUsd: BigInt(bill.price_nano_usd),
      toldUnits: BigInt(chargedCumulativeAmount),
      tokens: bill.attempts.reduce((all, { tokens }) => all + tokens, 0),
      receipts: bill.attempts.flatMap(({ receipt }) => receipt ?? []),
    }
  }

  /** Fetches and checks the receipts of an answer: signature, place in the batch, price, request and text. */
  async function verify({ text, body, channelId, receipts }) {
    const reports = []
    for (const id of receipts) {
      const proven = await readJson(`${gateway}/v1/channels/${channelId}/receipts/${id}`)
      const alone = receipts.length === 1 ? { text } : {}
      const requestBody = new TextEncoder().encode(body)
      const parsed = provenReceiptSchema.parse(proven)
      const { ok, checks } = verifyReceipt(parsed, { requestBody, ...alone })
      const failed = checks.filter(({ outcome }) => outcome === 'failed')
      reports.push({ id, ok: ok && parsed.receipt.id === id, node: parsed.receipt.node, failed })
    }
    return reports
  }

  return { ask, verify }
}

async function readWhole(response) {
  const { choices, baseload } = await response.json()
  return { text: choices[0].message.content, bill: baseload }
}

/** Server-sent events: chunks of text, and at the end the bill. */
async function readStream(response, onText) {
  let [text, bill, rest] = ['', null, '']
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue
      const event = JSON.parse(line.slice('data: '.length))
      if (event.error) throw new Error(`the answer broke off: ${event.error.message}`)
      const more = event.choices?.[0]?.delta?.content ?? ''
      text += more
      onText(more)
      bill = event.baseload ?? bill
    }
  }
  if (bill === null) throw new Error('the answer ended without its bill')
  return { text, bill }
}
