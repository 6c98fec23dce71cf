/** Where callers without a key come in: they hear the price of what they ask (402), or bring a payment for it. */
import type { IncomingMessage } from 'node:http'
import { isRefusal, REFUSALS, type Refusal } from '../../../core/base/refusal.ts'
import { readPayment } from '../../../core/ledger/x402-payment.ts'
import {
  MAX_BODY_BYTES,
  type Api,
  type InferenceRequest,
} from '../../../core/protocol/inference-request.ts'
import type { ReplicaTable } from '../../../core/routing/replica-table.ts'
import type { HeaderList } from '../../../io/http/respond.ts'
import type { PaidRequest } from './paid-request.ts'
import { fault, isFault, type PaymentFault } from './payment-fault.ts'
import type { Payments } from './payments.ts'
import { quoteFor } from './quote.ts'
import { UNPAID_BODY_BYTES, type Strangers } from './strangers.ts'
import {
  channelOffer,
  MAX_OFFER_STEP,
  paymentRequired,
  type Resource,
  type X402Terms,
} from './terms.ts'

export type Refused = {
  readonly refusal: Refusal
  readonly headers: HeaderList
  /** By 402 x402's clients know that the header says what to do. */
  readonly status: number
}

export type X402Door = {
  /** May this one come in, and how long may its body be? `leave` is to be called once, when the request is over. */
  enter(request: IncomingMessage): { readonly bodyBytes: number; leave(): void } | Refusal
  /** Takes the payment that came with it, or says what it costs. */
  pay(
    api: Api,
    request: IncomingMessage,
    wanted: InferenceRequest,
    bodyBytes: number,
  ): PaidRequest | Refused | Promise<PaidRequest | Refused>
}

const PATHS: Record<Api, string> = {
  chat: '/v1/chat/completions',
  completion: '/v1/completions',
  embedding: '/v1/embeddings',
}

export function createX402Door(parts: {
  terms: X402Terms
  table: ReplicaTable
  payments: Payments
  strangers: Strangers
}): X402Door {
  const { terms, table, payments, strangers } = parts
  let offers = 0n

  function pay(
    api: Api,
    request: IncomingMessage,
    wanted: InferenceRequest,
    bodyBytes: number,
  ): PaidRequest | Refused | Promise<PaidRequest | Refused> {
    const quote = quoteFor(table, wanted, bodyBytes)
    if (isRefusal(quote))
      return { refusal: quote, headers: [], status: REFUSALS[quote.code].status }
    const answer = (taken: PaidRequest | PaymentFault): PaidRequest | Refused =>
      isFault(taken) ? refused(taken, resourceOf(request, PATHS[api]), asked) : taken
    offers += 1n
    const asked = quote.units + (offers % (MAX_OFFER_STEP + 1n))
    const header = request.headers['payment-signature']
    if (header === undefined) return answer(noPayment(terms, asked))
    const payment = readPayment(String(header))
    if ('problem' in payment) return answer(malformed(payment.problem))
    if ('otherScheme' in payment) return answer(notOffered(payment.otherScheme))
    if (payment.scheme === 'exact') return answer(notOffered('exact'))
    if (payment.refund !== null)
      return answer(malformed('is a refund, which is asked for with GET, or POST /v1/channels'))
    const taken = payments.take(payment, quote)
    return taken instanceof Promise ? taken.then(answer) : answer(taken)
  }

  function refused({ refusal, word, corrective }: PaymentFault, resource: Resource, units: bigint) {
    const offer = channelOffer(terms, units, corrective)
    const required = paymentRequired(resource, [offer], word)
    const headers = ['payment-required', required, 'cache-control', 'no-store']
    return { refusal, headers, status: statusOf(refusal) }
  }

  return {
    enter(request) {
      const leave = strangers.enter(request.socket.remoteAddress)
      if (isRefusal(leave)) return leave
      const paying = request.headers['payment-signature'] !== undefined
      return { bodyBytes: paying ? MAX_BODY_BYTES : UNPAID_BODY_BYTES, leave }
    },
    pay,
  }
}

/** A malformed header is 400, and what the gateway cannot do just now 503; a payment that is not taken is 402. */
function statusOf({ code }: Refusal): number {
  const { status } = REFUSALS[code]
  return code === 'payment_malformed' || status >= 500 ? status : 402
}

/** As the client named it; a host that is no host is left out. */
function resourceOf({ headers, socket }: IncomingMessage, path: string): Resource {
  const host = /^[a-z0-9.[\]:-]{1,255}$/i.exec(headers.host ?? '')?.[0]
  const scheme = 'encrypted' in socket && socket.encrypted === true ? 'https' : 'http'
  return {
    url: host === undefined ? path : `${scheme}://${host}${path}`,
    description: 'Paid by what its tokens cost, up to the amount.',
    mimeType: 'application/json',
  }
}

const noPayment = ({ token, testMoney }: X402Terms, units: bigint): PaymentFault =>
  fault(
    'payment_required',
    `This request costs at most ${units} units of ${token.symbol}${testMoney ? ' (test money)' : ''}. Send an API key ` +
      "('Authorization: Bearer <key>'), or pay with an x402 client: the header PAYMENT-REQUIRED says how. POST /v1/topups pays into an account.",
    { details: { maximumUnits: units } },
  )

const malformed = (problem: string): PaymentFault =>
  fault('payment_malformed', `The header PAYMENT-SIGNATURE ${problem}.`)

const notOffered = (scheme: string): PaymentFault =>
  fault(
    'payment_not_offered',
    `Requests are paid by the scheme 'batch-settlement', not by '${scheme.slice(0, 40)}'. One transfer can pay into an account: POST /v1/topups.`,
  )
