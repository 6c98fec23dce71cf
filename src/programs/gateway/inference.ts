/**
 * The hot routes: who is it, may they, what do they want; then an exchange serves it. Plain node:http and no
 * promise where none is needed: every microsecond here is paid by every request.
 */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { idFrom } from '../../core/base/id.ts'
import { isRefusal, refuse, REFUSALS, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  MAX_BODY_BYTES,
  readInferenceRequest,
  type Api,
  type InferenceRequest,
} from '../../core/protocol/inference-request.ts'
import { affinityOf } from '../../core/routing/affinity.ts'
import {
  admit,
  rateNumbers,
  settle,
  type Admission,
  type Limited,
  type RateNumber,
} from '../../core/routing/limits.ts'
import type { ListPrice } from '../../core/routing/saving.ts'
import { UsageBook } from '../../core/routing/usage-book.ts'
import { CORS_HEADER_LIST } from '../../io/http/cors.ts'
import { createBodyReader } from '../../io/http/read-body.ts'
import { headersOf, onceGone, sendRefusal, type HeaderList } from '../../io/http/respond.ts'
import type { GatewayMetrics } from '../../io/telemetry/metrics.ts'
import type { Bill } from './bill.ts'
import type { Dispatcher } from './dispatcher.ts'
import { EmbeddingExchange } from './embedding-exchange.ts'
import { Exchange } from './exchange.ts'
import type { KeyEntry, Keyring } from './keyring.ts'
import { createRandomPool } from './random-pool.ts'
import type { X402Door } from './x402/door.ts'
import { PaidRequest, type AnswerPayment } from './x402/paid-request.ts'

/** A request that may be served, with all that its exchange needs. */
export type Admitted = {
  readonly dispatcher: Dispatcher
  readonly requestId: string
  readonly body: Buffer
  readonly key: KeyEntry
  readonly affinity: number | null
  readonly seed: number
  readonly response: ServerResponse
  /** For every answer: request id, CORS, rate limits. */
  readonly headers: HeaderList
  /** Another Baseload asks for ids in each event. */
  readonly tokenIds: boolean
  readonly startedAt: Millis
  readonly listPrices: ReadonlyMap<string, ListPrice>
  /** Of a request that was paid with the request itself; null: its key's account pays. */
  readonly payment: AnswerPayment | null
  /** Called once, when the answer is over. */
  over(outcome: Outcome): void
}

export type Outcome = {
  readonly refusal: Refusal | null
  readonly bill: Bill | null
  readonly model: string | null
  readonly firstTokenAt: Millis | null
  /** The tenant went away before the answer was whole. */
  readonly gone?: boolean
  /** Where the refusal was not answered with the status of its code. */
  readonly status?: number
}

/** What is told about a request that is over, to the log and to the terminal. */
export type RequestReport = Outcome & {
  readonly api: Api
  readonly requestId: string
  readonly key: KeyEntry | null
  readonly status: number
  readonly startedAt: Millis
  readonly finishedAt: Millis
}

export type InferenceParts = {
  readonly dispatcher: Dispatcher
  readonly keyring: Keyring
  readonly metrics: GatewayMetrics
  readonly listPrices: ReadonlyMap<string, ListPrice>
  /** For requests without a key; null: there must be one. */
  readonly x402: X402Door | null
  /** False once the gateway is shutting down. */
  accepting(): boolean
  report(report: RequestReport): void
}

export type ServeInference = (api: Api, request: IncomingMessage, response: ServerResponse) => void

export function createInference(parts: InferenceParts): ServeInference {
  const { dispatcher, keyring, metrics } = parts
  const { now } = dispatcher
  const random = createRandomPool()
  const readBody = createBodyReader()
  const book = new UsageBook()

  function serve(api: Api, request: IncomingMessage, response: ServerResponse): void {
    const startedAt = now()
    const requestId = idFrom('req', random.bytes(15))
    const headers = ['x-request-id', requestId, ...CORS_HEADER_LIST]
    const turn: Turn = { api, request, response, startedAt, requestId, headers }
    if (!parts.accepting()) {
      refuseWith(
        turn,
        null,
        refuse('shutting_down', 'This gateway is shutting down; send the request again.', {
          retryAfterS: 1,
        }),
      )
      return
    }
    if (parts.x402 && request.headers.authorization === undefined) {
      stranger(turn, parts.x402)
      return
    }
    const key = keyring.authenticate(request.headers.authorization, 'inference')
    if (!(key instanceof Promise)) {
      authenticated(turn, key)
      return
    }
    void key.then(
      (known) => authenticated(turn, known),
      (error: unknown) => refuseWith(turn, null, dispatcher.storeDown(error)),
    )
  }

  function authenticated(turn: Turn, key: KeyEntry | Refusal): void {
    if (isRefusal(key)) {
      refuseWith(turn, null, key)
      return
    }
    readBody(turn.request, MAX_BODY_BYTES, (body) => {
      if (body === null) return
      if (isRefusal(body)) {
        refuseWith(turn, key, body)
        return
      }
      const wanted = parse(turn.api, body)
      if (isRefusal(wanted)) refuseWith(turn, key, wanted)
      else admitted(turn, key, body, wanted, null)
    })
  }

  /** No key: it hears what it costs, or has brought a payment. */
  function stranger(turn: Turn, door: X402Door): void {
    const visit = door.enter(turn.request)
    if (isRefusal(visit)) {
      refuseWith(turn, null, visit)
      return
    }
    onceGone(turn.response, () => visit.leave())
    readBody(turn.request, visit.bodyBytes, (body) => {
      if (body === null) return
      if (isRefusal(body)) {
        refuseWith(turn, null, body)
        return
      }
      const wanted = parse(turn.api, body)
      if (isRefusal(wanted)) {
        refuseWith(turn, null, wanted)
        return
      }
      const answer = (paid: Awaited<ReturnType<X402Door['pay']>>): void => {
        if (!(paid instanceof PaidRequest))
          refuseWith(turn, null, paid.refusal, paid.headers, paid.status)
        else if (turn.response.destroyed) paid.unheard(0n)
        else admitted(turn, paid.payer, body, paid.request, paid)
      }
      const paid = door.pay(turn.api, turn.request, wanted, body.length)
      if (!(paid instanceof Promise)) {
        answer(paid)
        return
      }
      void paid.then(answer, (error: unknown) =>
        refuseWith(turn, null, dispatcher.storeDown(error)),
      )
    })
  }

  function admitted(
    turn: Turn,
    key: KeyEntry,
    body: Buffer,
    wanted: InferenceRequest,
    paid: PaidRequest | null,
  ): void {
    const parties = partiesOf(key, turn.startedAt)
    const admission = admit(parties, estimatedTokens(wanted, body), turn.startedAt)
    if (isRefusal(admission)) {
      const more = paid ? paid.whole(null) : []
      refuseWith(turn, key, admission, [...rateHeaders(parties, turn.startedAt), ...more])
      return
    }
    const exchange: Admitted = {
      dispatcher: paid ? paidBy(paid, dispatcher) : dispatcher,
      requestId: turn.requestId,
      body,
      key,
      affinity: affinityOf(wanted),
      seed: seedOf(wanted) ?? random.uint32(),
      response: turn.response,
      headers:
        parties.length === 0
          ? turn.headers
          : [...turn.headers, ...rateHeaders(parties, turn.startedAt)],
      tokenIds: turn.request.headers['x-baseload-token-ids'] === '1',
      startedAt: turn.startedAt,
      listPrices: parts.listPrices,
      payment: paid,
      over: (outcome) => over(turn, key, admission, outcome),
    }
    if (wanted.api === 'embedding') new EmbeddingExchange(exchange, wanted).start()
    else new Exchange(exchange, wanted).start()
    metrics.addedLatency((now() - turn.startedAt) / 1000)
  }

  function over(turn: Turn, key: KeyEntry, admission: Admission, outcome: Outcome): void {
    const { bill } = outcome
    const used = bill ? bill.usage.inputTokens + bill.usage.outputTokens : 0
    settle(admission, used, now())
    if (bill && outcome.model)
      metrics.tokens(outcome.model, bill.usage.inputTokens, bill.usage.outputTokens)
    if (outcome.firstTokenAt !== null)
      metrics.firstToken((outcome.firstTokenAt - turn.startedAt) / 1000)
    tell(turn, key, outcome)
  }

  function refuseWith(
    turn: Turn,
    key: KeyEntry | null,
    refusal: Refusal,
    more: HeaderList = [],
    status: number = REFUSALS[refusal.code].status,
  ): void {
    sendRefusal(turn.response, refusal, headersOf([...turn.headers, ...more]), status)
    tell(turn, key, { refusal, bill: null, model: null, firstTokenAt: null, status })
  }

  function tell(turn: Turn, key: KeyEntry | null, outcome: Outcome): void {
    const finishedAt = now()
    const status = outcome.refusal
      ? (outcome.status ?? REFUSALS[outcome.refusal.code].status)
      : outcome.gone
        ? CLIENT_CLOSED
        : 200
    metrics.request(turn.api, outcome.model, status, (finishedAt - turn.startedAt) / 1000)
    const { refusal, bill, model, firstTokenAt, gone = false } = outcome
    parts.report({
      refusal,
      bill,
      model,
      firstTokenAt,
      gone,
      api: turn.api,
      requestId: turn.requestId,
      key,
      status,
      startedAt: turn.startedAt,
      finishedAt,
    })
  }

  /** Only parties with a limit: most have none and cost nothing. */
  function partiesOf({ key, account }: KeyEntry, at: Millis): Limited[] {
    const parties: Limited[] = []
    if (isLimited(key.limits))
      parties.push({ name: 'key', limits: key.limits, usage: book.of(key.id, at) })
    if (isLimited(account.limits))
      parties.push({ name: 'account', limits: account.limits, usage: book.of(account.id, at) })
    return parties
  }

  return serve
}

type Turn = {
  readonly api: Api
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly startedAt: Millis
  readonly requestId: string
  readonly headers: HeaderList
}

/** What was signed for the request takes the meter's place; all else is as ever. */
const paidBy = (paid: PaidRequest, dispatcher: Dispatcher): Dispatcher => ({
  ...dispatcher,
  meter: {
    ...dispatcher.meter,
    reserve: (_account, _key, ceilingNanoUsd) => paid.reserve(ceilingNanoUsd),
  },
})

/** nginx's status for a client that closed the connection; only ever logged. */
const CLIENT_CLOSED = 499

function parse(api: Api, body: Buffer): InferenceRequest | Refusal {
  if (!isUtf8(body)) return refuse('invalid_json', 'The request body is not valid UTF-8.')
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (error) {
    return refuse('invalid_json', `The request body is not valid JSON: ${jsonProblem(error)}.`)
  }
  return readInferenceRequest(api, value)
}

/** Of V8's words only those that quote at most one character: the text may be a prompt or a key. */
function jsonProblem(error: unknown): string {
  const words = error instanceof Error ? error.message : ''
  const position = /position \d+/.exec(words)?.[0]
  if (position !== undefined) return `see ${position}`
  const token = /^Unexpected token '(.)'/su.exec(words)?.[1]
  return token === undefined ? 'it ends too early' : `unexpected '${token}'`
}

const isLimited = ({
  requestsPerMinute,
  tokensPerMinute,
  concurrency,
}: Limited['limits']): boolean =>
  requestsPerMinute !== null || tokensPerMinute !== null || concurrency !== null

const seedOf = (request: InferenceRequest): number | null =>
  request.api === 'embedding' ? null : request.sampling.seed

/** Four bytes a token, as the field reckons, and the answer at its longest. */
function estimatedTokens(request: InferenceRequest, body: Buffer): number {
  const input = Math.ceil(body.length / 4)
  if (request.api === 'embedding') return input
  return input + request.n * (request.sampling.maxTokens ?? 256)
}

function rateHeaders(parties: readonly Limited[], now: Millis): HeaderList {
  const numbers = rateNumbers(parties, now)
  return [...rateHeader('requests', numbers.requests), ...rateHeader('tokens', numbers.tokens)]
}

function rateHeader(unit: string, number: RateNumber | null): HeaderList {
  if (!number) return []
  const { limit, remaining, resetS } = number
  const limits = [`x-ratelimit-limit-${unit}`, String(limit)]
  const left = [`x-ratelimit-remaining-${unit}`, String(remaining)]
  return [...limits, ...left, `x-ratelimit-reset-${unit}`, `${resetS}s`]
}
