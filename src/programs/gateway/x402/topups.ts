/**
 * Money into an account by one x402 payment of the scheme `exact`. Who is to be credited is written down with the transaction, before
 * it is sent; credited is when it is final, and once, by the authorization's nonce. After a restart what is open is followed again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Hex } from '../../../core/base/hex.ts'
import { reasonOf, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import type { ExactPayment } from '../../../core/ledger/x402-payment.ts'
import type { ChainAction } from '../../../io/store/chain-records.ts'
import { tenantLedger, type Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { acceptedOff } from './check-terms.ts'
import { EXACT_KIND, exactPurpose, exactScheme, type ExactParts } from './exact-scheme.ts'
import { fault, type PaymentFault } from './payment-fault.ts'
import { exactOffer, networkOf, type X402Terms } from './terms.ts'

/** `pending`: mined and not final; it is credited without anybody asking again. */
export type Topup = {
  readonly state: 'credited' | 'pending'
  readonly account: string
  readonly units: bigint
  readonly transaction: string
  readonly payer: Hex
  /** The first time that this payment came. */
  readonly fresh: boolean
}

export type Topups = {
  readonly terms: X402Terms
  /** What is wrong with a payment of `units`, by x402's own facilitator; null: nothing. Sends nothing. */
  verify(payment: ExactPayment, units: bigint): Promise<PaymentFault | null>
  /** Brings it to the chain and credits `account`. The same payment again gives what it gave. */
  take(payment: ExactPayment, units: bigint, account: string): Promise<Topup | PaymentFault>
  /** Goes on with what an earlier life of this gateway began. */
  resume(): Promise<void>
  close(): void
}

export type TopupParts = ExactParts & {
  readonly store: Pick<Store, 'chainAction' | 'chainActions' | 'transfer'>
  readonly logger: Logger
}

const TOPUPS = 'world:x402'
const MAX_IN_FLIGHT = 16
/** A request waits so long for finality; then the answer says `pending`. */
const FINAL_WAIT_MS = 60_000
const LOOK_EVERY_MS = 250
/** As many as are looked through at the start. */
const RESUMED = 10_000

const credit = z.object({ account: z.string(), units: z.string().regex(/^\d+$/) })

export function createTopups(parts: TopupParts): Topups {
  const { terms, store, logger } = parts
  const stop = new AbortController()
  const following = new Map<string, Promise<ChainAction | null>>()
  let inFlight = 0

  async function verify(payment: ExactPayment, units: bigint): Promise<PaymentFault | null> {
    const off = acceptedOff(payment.accepted, terms) ?? offAmount(payment, units, terms)
    if (off) return off
    const { isValid, invalidReason } = await exactScheme(parts, null).verify(
      payloadOf(payment, terms),
      requirementsOf(terms, units),
    )
    return isValid ? null : notTaken(invalidReason ?? 'unexpected_verify_error')
  }

  async function take(
    payment: ExactPayment,
    units: bigint,
    account: string,
  ): Promise<Topup | PaymentFault> {
    const off = acceptedOff(payment.accepted, terms) ?? offAmount(payment, units, terms)
    if (off) return off
    const purpose = exactPurpose(payment.from, payment.nonce)
    const before = await store.chainAction(purpose)
    if (before === null) {
      if (inFlight >= MAX_IN_FLIGHT)
        return fault('deposit_limit', 'Too many payments are on their way. Try again.', {
          retryAfterS: 5,
        })
      inFlight += 1
      try {
        const details = { account, units: String(units) }
        const settled = await exactScheme(parts, details).settle(
          payloadOf(payment, terms),
          requirementsOf(terms, units),
        )
        if (!settled.success) return notTaken(settled.errorReason ?? 'unexpected_settle_error')
      } finally {
        inFlight -= 1
      }
    }
    return credited(payment, purpose, account, before === null)
  }

  async function credited(
    payment: ExactPayment,
    purpose: string,
    account: string,
    fresh: boolean,
  ): Promise<Topup | PaymentFault> {
    const action = await Promise.race([
      follow(purpose),
      sleep(FINAL_WAIT_MS, null, { signal: stop.signal }).catch(() => null),
    ])
    const there = action ?? (await store.chainAction(purpose))
    const to = credit.safeParse(there?.details)
    if (!there || !to.success || to.data.account !== account)
      return fault('payment_used', 'This payment was made into another account. Sign a new one.')
    if (there.state === 'failed')
      return fault(
        'deposit_failed',
        `The transfer failed on chain: ${there.problem ?? 'reverted'}.`,
      )
    return {
      state: there.state === 'final' ? 'credited' : 'pending',
      account,
      units: BigInt(to.data.units),
      transaction: there.mined?.hash ?? '',
      payer: payment.from,
      fresh,
    }
  }

  /** Resolves when it is final and credited, or failed; null when the gateway closes. */
  function follow(purpose: string): Promise<ChainAction | null> {
    const known = following.get(purpose)
    if (known) return known
    const followed = untilSettled(purpose).finally(() => following.delete(purpose))
    following.set(purpose, followed)
    return followed
  }

  async function untilSettled(purpose: string): Promise<ChainAction | null> {
    while (!stop.signal.aborted) {
      try {
        const action = await store.chainAction(purpose)
        if (action?.state === 'failed') return action
        if (action?.state === 'final') {
          await book(action)
          return action
        }
      } catch (error) {
        logger.warn('a top-up waits', { purpose, reason: reasonOf(error) })
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
    return null
  }

  /** Once for each authorization: its key in the ledger is the transaction's purpose. */
  async function book({ purpose, details, mined }: ChainAction): Promise<void> {
    const { account, units } = credit.parse(details)
    const refusal = await store.transfer({
      key: purpose,
      debit: TOPUPS,
      credit: tenantLedger(account),
      nanoUsd: BigInt(units) * NANO_PER_UNIT,
      kind: 'deposit',
      reference: mined?.hash ?? purpose,
    })
    if (typeof refusal !== 'string')
      logger.error('a top-up is not credited', { purpose, ...refusal })
  }

  return {
    terms,
    verify,
    take,
    async resume() {
      for (const state of ['written', 'signed', 'mined', 'final'] as const) {
        const open = await store.chainActions({ kind: EXACT_KIND, state, limit: RESUMED })
        for (const { purpose, details } of open)
          if (credit.safeParse(details).success) void follow(purpose)
      }
    },
    close: () => stop.abort(),
  }
}

/** The units of a top-up, or why it cannot be one. */
export function topupUnits(nanoUsd: bigint, { minDepositUnits }: X402Terms): bigint | Refusal {
  const units = nanoUsd / NANO_PER_UNIT
  if (units * NANO_PER_UNIT === nanoUsd && units >= minDepositUnits && units <= MAX_TOPUP_UNITS)
    return units
  return refuse(
    'invalid_value',
    `'amount_usd' must be from ${minDepositUnits} to ${MAX_TOPUP_UNITS} millionths of a dollar, whole ones.`,
    { param: 'amount_usd' },
  )
}

/** $100,000: more comes in several payments. */
const MAX_TOPUP_UNITS = 100_000_000_000n

function offAmount(
  { to, valueUnits, accepted }: ExactPayment,
  units: bigint,
  { operator }: X402Terms,
): PaymentFault | null {
  if (to !== operator)
    return fault('channel_wrong_payee', `The transfer is to ${to}; here it is to ${operator}.`)
  if (valueUnits === units && accepted.amountUnits === units) return null
  return fault(
    valueUnits < units ? 'payment_too_low' : 'payment_over_maximum',
    `The transfer is of ${valueUnits} units; it must be of exactly ${units}.`,
    { word: 'invalid_exact_evm_payload_authorization_value_mismatch' },
  )
}

const notTaken = (word: string): PaymentFault => {
  const code = /valid_before|valid_after/.test(word)
    ? 'payment_expired'
    : /insufficient/.test(word)
      ? 'payer_short'
      : /signature/.test(word)
        ? 'payment_tampered'
        : 'deposit_failed'
  return fault(code, `x402's facilitator does not take the transfer: ${word}. Nothing was moved.`, {
    word,
  })
}

const networkId = (terms: X402Terms): `${string}:${string}` => `eip155:${terms.chainId}`

const requirementsOf = (terms: X402Terms, units: bigint) => {
  const { scheme, amount, asset, payTo, maxTimeoutSeconds, extra } = exactOffer(terms, units)
  return {
    scheme,
    amount,
    asset,
    payTo,
    maxTimeoutSeconds,
    extra: { ...extra },
    network: networkId(terms),
  }
}

const payloadOf = (payment: ExactPayment, terms: X402Terms) => ({
  x402Version: 2,
  accepted: requirementsOf(terms, payment.accepted.amountUnits),
  payload: {
    signature: payment.signature,
    authorization: {
      from: payment.from,
      to: payment.to,
      value: String(payment.valueUnits),
      validAfter: String(payment.validAfter),
      validBefore: String(payment.validBefore),
      nonce: payment.nonce,
    },
  },
})

/** As facilitators say what they settle. */
export const supported = (terms: X402Terms) => ({
  kinds: [
    { x402Version: 2, scheme: 'exact', network: networkOf(terms) },
    {
      x402Version: 2,
      scheme: 'batch-settlement',
      network: networkOf(terms),
      extra: { receiverAuthorizer: terms.operator },
    },
  ],
  extensions: [],
  signers: { 'eip155:*': [terms.operator] },
})
