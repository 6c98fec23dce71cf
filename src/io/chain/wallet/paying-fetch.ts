/**
 * A `fetch` that pays. Where a gateway answers that it needs a higher voucher, the next one is signed, sent, and the request
 * made again. What is signed stays below the deposit, the budget and what was agreed for one voucher.
 *
 * @example
 * import OpenAI from 'openai'
 * import { openWallet, payingFetch } from 'baseload/pay'
 *
 * const gateway = 'https://gateway.example'
 * const password = process.env.BASELOAD_WALLET_PASSWORD ?? ''
 * const wallet = await openWallet({ home: '/home/me/.baseload', name: 'main', password })
 * const fetch = payingFetch({ wallet, gateway, budgetUnits: 2_000_000n }) // 2 USDC
 * const client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: process.env.BASELOAD_API_KEY, fetch })
 */
import type { Hex } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { payeeAt } from './book-schema.ts'
import {
  channelsAnswer,
  refusalAnswer,
  voucherNeeded,
  type ChannelAnswer,
} from './channel-answers.ts'
import { signVoucher, type SignedVoucher, type Wallet } from './wallet.ts'

export { PaymentError, type PaymentErrorCode } from './payment-error.ts'
export { openWallet, type SignedVoucher, type Wallet } from './wallet.ts'

/** How long a request waits for other requests' vouchers before it gives up: so many rounds. */
const MAX_ROUNDS = 8
/** A 402 is short; more is somebody else's answer. */
const MAX_REFUSAL_BYTES = 64 * 1024
const LOOK_EVERY_MS = 30_000

export type PayingFetchOptions = {
  readonly wallet: Wallet
  /** The gateway's address: requests to others pass by, and are never paid for. */
  readonly gateway: string
  /** All that may ever be signed for this gateway, where that is less than the wallet's own budget. */
  readonly budgetUnits?: bigint
  readonly fetch?: typeof fetch
  /** How often the gateway is asked, beside the requests, what is left: 30 s. */
  readonly lookEveryMs?: number
  /** Hears of each voucher that the gateway took. */
  readonly onVoucher?: (voucher: SignedVoucher) => void | Promise<void>
}

/**
 * Gives a `fetch` that throws what `fetch` throws, and PaymentError where the voucher that is needed may not be signed, or a
 * Fault `voucher_refused` with the gateway's words where it does not take one. A request causes one voucher at most; those
 * made at once share it. The body is kept in memory until the answer comes.
 */
export function payingFetch(options: PayingFetchOptions): typeof fetch {
  const { origin } = new URL(options.gateway)
  const send = options.fetch ?? fetch
  const desk = new VoucherDesk(options, origin, send)

  return async (input, init) => {
    const request = new Request(input, init)
    if (new URL(request.url).origin !== origin) return send(request)
    const body = request.body === null ? null : await request.arrayBuffer()
    const again = (): Request => new Request(request.url, copyOf(request, body))
    let paid = false
    for (let round = 1; ; round++) {
      const sentAt = desk.count
      const response = await send(again())
      if (response.status !== 402) {
        desk.look(request.headers)
        return response
      }
      const { need, whole } = await readRefusal(response)
      if (need === null || round === MAX_ROUNDS) return whole
      if (await desk.waitForOthers(need, sentAt)) continue
      if (paid) return whole
      const did = await desk.pay(need, request.headers)
      if (did === 'not ours') return whole
      paid = did === 'paid'
    }
  }
}

const copyOf = (request: Request, body: ArrayBuffer | null): RequestInit => ({
  method: request.method,
  headers: request.headers,
  body,
  signal: request.signal,
  redirect: request.redirect,
})

type Need = { readonly channelId: Hex; readonly ceiling: bigint }

/** Pays for one gateway: one voucher of a channel at a time. */
class VoucherDesk {
  readonly #options: PayingFetchOptions
  readonly #origin: string
  readonly #send: typeof fetch
  /** By channel: the voucher that is on its way. */
  readonly #running = new Map<Hex, Promise<void>>()
  /** By channel: the highest ceiling that the gateway took, and after how many vouchers. */
  readonly #taken = new Map<Hex, { ceiling: bigint; count: number }>()
  #lookedAt = performance.now()
  /** How many vouchers were taken so far. */
  count = 0

  constructor(options: PayingFetchOptions, origin: string, send: typeof fetch) {
    this.#options = options
    this.#origin = origin
    this.#send = send
  }

  /** True: another request's voucher was taken since this one was sent, and may be enough for it. */
  async waitForOthers({ channelId, ceiling }: Need, sentAt: number): Promise<boolean> {
    await this.#running.get(channelId)?.catch(() => {})
    const taken = this.#taken.get(channelId)
    return taken !== undefined && taken.count > sentAt && taken.ceiling >= ceiling
  }

  /** `shared`: another request's voucher was on its way, and it may be enough. */
  async pay(
    { channelId, ceiling }: Need,
    headers: Headers,
  ): Promise<'paid' | 'shared' | 'not ours'> {
    const { wallet, budgetUnits = null } = this.#options
    const book = await wallet.book.read()
    // Others' channels, or a gateway that was never agreed to: nothing is signed.
    const payee = payeeAt(book, this.#origin)
    const channel = book.channels.find(({ id }) => id === channelId)
    if (payee === null || channel?.config.receiver !== payee.receiver) return 'not ours'
    // Whoever came while the book was read has begun already.
    const running = this.#running.get(channelId)
    if (running) return running.then(() => 'shared')
    const topUp = async (): Promise<void> => {
      const voucher = await signVoucher(wallet, channelId, ceiling, budgetUnits)
      await this.#deliver(voucher, headers)
    }
    const started = topUp().finally(() => this.#running.delete(channelId))
    this.#running.set(channelId, started)
    await started
    return 'paid'
  }

  /**
   * Asks, beside the requests, what is left of the vouchers that are in use, and signs the next one before the gateway has to
   * refuse. What goes wrong here shows at the next refusal.
   */
  look(headers: Headers): void {
    const { lookEveryMs = LOOK_EVERY_MS } = this.#options
    if (performance.now() - this.#lookedAt < lookEveryMs) return
    this.#lookedAt = performance.now()
    void this.#topUpEarly(headers).catch(() => {})
  }

  async #topUpEarly(headers: Headers): Promise<void> {
    const payee = payeeAt(await this.#options.wallet.book.read(), this.#origin)
    if (payee === null) return
    const response = await this.#send(
      new Request(`${this.#origin}/v1/channels`, { headers: authOf(headers), redirect: 'error' }),
    )
    if (!response.ok) return response.body?.cancel()
    const { data } = channelsAnswer.parse(await response.json())
    const low = data.find((one) => isLow(one, payee.stepUnits))
    if (low !== undefined) await this.pay({ channelId: low.id, ceiling: low.ceiling + 1n }, headers)
  }

  async #deliver(voucher: SignedVoucher, headers: Headers): Promise<void> {
    const { channelId, maxClaimableAmount, signature } = voucher
    const request = new Request(`${this.#origin}/v1/channels/${channelId}/vouchers`, {
      method: 'POST',
      headers: { ...authOf(headers), 'content-type': 'application/json' },
      body: JSON.stringify({ maxClaimableAmount: String(maxClaimableAmount), signature }),
      redirect: 'error',
    })
    const response = await this.#send(request)
    const text = await response.text()
    // Stale: the gateway has it already, and only its answer was lost.
    if (!response.ok && codeOf(text) !== 'voucher_stale')
      throw new Fault('voucher_refused', `the gateway does not take the voucher: ${words(text)}`, {
        retryable: response.status >= 500,
      })
    this.count += 1
    this.#taken.set(channelId, { ceiling: maxClaimableAmount, count: this.count })
    await this.#options.onVoucher?.(voucher)
  }
}

/** A quarter of a step is left, of a channel that is being spent. */
const isLow = (of: ChannelAnswer, stepUnits: bigint): boolean =>
  of.state === 'open' &&
  of.charged > 0n &&
  of.ceiling < of.deposit &&
  of.ceiling - of.charged < stepUnits / 4n

function authOf(headers: Headers): Record<string, string> {
  const authorization = headers.get('authorization')
  return authorization === null ? {} : { authorization }
}

/** What the refusal asks for, and the answer as if nobody had read it. */
async function readRefusal(response: Response): Promise<{ need: Need | null; whole: Response }> {
  const bytes = await response.arrayBuffer()
  const { status, statusText, headers } = response
  const whole = new Response(bytes, { status, statusText, headers })
  if (bytes.byteLength > MAX_REFUSAL_BYTES) return { need: null, whole }
  const asked = voucherNeeded.safeParse(jsonOrNull(Buffer.from(bytes).toString('utf8')))
  if (!asked.success) return { need: null, whole }
  const { channelId, needCeiling } = asked.data.error.details
  return { need: { channelId, ceiling: needCeiling }, whole }
}

const codeOf = (text: string): string | null => {
  const parsed = refusalAnswer.safeParse(jsonOrNull(text))
  return parsed.success ? (parsed.data.error.code ?? null) : null
}

const words = (text: string): string => {
  const parsed = refusalAnswer.safeParse(jsonOrNull(text))
  return parsed.success ? parsed.data.error.message : text.slice(0, 200)
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
