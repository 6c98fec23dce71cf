/** On which terms this gateway takes x402 payments, and how they are offered: version 2, github.com/x402-foundation/x402. */
import type { Address, Hex } from '../../../core/base/hex.ts'

export type X402Terms = {
  readonly chainId: number
  readonly addresses: { readonly channels: Address; readonly collector: Address }
  /** Its name and version are those of its EIP-712 domain. */
  readonly token: {
    readonly address: Address
    readonly name: string
    readonly version: string
    readonly symbol: string
  }
  /** Receives, and says how much is claimed: `receiver` and `receiverAuthorizer` of every channel. */
  readonly operator: Address
  readonly withdrawDelayS: number
  /** The least that a deposit may bring, units: it costs this gateway gas. */
  readonly minDepositUnits: bigint
  /** How long a payment with a transaction may take, and how long its authorization is to be good. */
  readonly maxTimeoutS: number
  readonly testMoney: boolean
}

/** One way to pay, as a client reads it. */
export type Requirements = {
  readonly scheme: 'batch-settlement' | 'exact'
  readonly network: string
  readonly amount: string
  readonly asset: Address
  readonly payTo: Address
  readonly maxTimeoutSeconds: number
  readonly extra: Readonly<Record<string, unknown>>
}

/** A channel as x402 shows it: amounts in units, decimal. */
export type ChannelState = {
  readonly channelId: Hex
  readonly balance: string
  readonly totalClaimed: string
  readonly withdrawRequestedAt: number
  readonly refundNonce: string
  readonly chargedCumulativeAmount: string
}

/** What a client that is out of step goes on from: it believes `channelState` because it signed `voucherState` itself. */
export type Corrective = {
  readonly channelState: ChannelState
  readonly voucherState?: { readonly signedMaxClaimable: string; readonly signature: Hex }
}

export type Resource = {
  readonly url: string
  readonly description: string
  readonly mimeType: string
}

export const networkOf = ({ chainId }: X402Terms): string => `eip155:${chainId}`

/** By voucher: the client deposits once, and then signs for each request the most that it may cost. */
export function channelOffer(
  terms: X402Terms,
  units: bigint,
  corrective: Corrective | null = null,
): Requirements {
  const { operator, withdrawDelayS, minDepositUnits } = terms
  return {
    scheme: 'batch-settlement',
    ...money(terms, units),
    extra: {
      receiverAuthorizer: operator,
      withdrawDelay: withdrawDelayS,
      ...domain(terms),
      minDeposit: String(minDepositFor(minDepositUnits, units)),
      ...corrective,
    },
  }
}

/** A dozen requests of that size, so that the next ones need no transaction. */
const DEPOSIT_REQUESTS = 12n
const minDepositFor = (least: bigint, units: bigint): bigint => {
  const some = units * DEPOSIT_REQUESTS
  return some > least ? some : least
}

/** By one transfer of exactly so much, in a transaction of its own. */
export const exactOffer = (terms: X402Terms, units: bigint): Requirements => ({
  scheme: 'exact',
  ...money(terms, units),
  extra: domain(terms),
})

const money = (terms: X402Terms, units: bigint) => ({
  network: networkOf(terms),
  amount: String(units),
  asset: terms.token.address,
  payTo: terms.operator,
  maxTimeoutSeconds: terms.maxTimeoutS,
})

const domain = ({ token }: X402Terms) => ({ name: token.name, version: token.version })

/**
 * Each offer asks for some units more than the last one, up to so many: an answer below a unit changes nothing that a payer is
 * told, and its next voucher would be the very same. So a voucher that comes twice is known for one. They are signed, not charged.
 */
export const MAX_OFFER_STEP = 255n

/** The value of the header `PAYMENT-REQUIRED`. */
export const paymentRequired = (
  resource: Resource,
  accepts: readonly Requirements[],
  error: string,
): string => encoded({ x402Version: 2, error, resource, accepts })

/** Any x402 header: base64 of JSON. */
export const encoded = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64')
