/**
 * What an x402 client sends in the header `PAYMENT-SIGNATURE`: base64 of JSON, version 2, scheme `batch-settlement` or `exact`
 * on EVM (github.com/x402-foundation/x402, specs). Strangers send it, so it is bounded before it is parsed, every field is
 * checked, and what is not named here is never looked at.
 */
import { isHex, lowerHex, parseAddress, bytesOf, type Address, type Hex } from '../base/hex.ts'
import { MAX_UINT128, type ChannelConfig, type Voucher } from './channel-config.ts'

/** Of base64. A deposit with all that clients echo is 3 KB; all headers together may have 16 KiB. */
export const MAX_PAYMENT_CHARACTERS = 12_288
/** Payments nest five deep, the client's echo of our offer included. */
export const MAX_PAYMENT_DEPTH = 12

/** What the client says it accepted, as text: compared with what is on offer, never trusted. */
export type AcceptedTerms = {
  readonly scheme: string
  readonly network: string
  readonly amountUnits: bigint
  readonly asset: Address
  readonly payTo: Address
}

export type DepositAuthorization = {
  readonly units: bigint
  /** Seconds since 1970. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  /** 32 bytes; the token's nonce is made of it and the channel's id. */
  readonly salt: Hex
  readonly signature: Hex
}

export type ChannelPayment = {
  readonly scheme: 'batch-settlement'
  readonly accepted: AcceptedTerms
  readonly config: ChannelConfig
  readonly voucher: Voucher
  /** Null: the channel has enough. */
  readonly deposit: DepositAuthorization | null
  /** A cooperative refund is asked for: of so much, or of all. Null: this pays a request. */
  readonly refund: { readonly units: bigint | null } | null
}

export type ExactPayment = {
  readonly scheme: 'exact'
  readonly accepted: AcceptedTerms
  readonly from: Address
  readonly to: Address
  readonly valueUnits: bigint
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly nonce: Hex
  readonly signature: Hex
}

export type X402Payment = ChannelPayment | ExactPayment

/** The payment, or what is wrong with it: a sentence's end, as in "it … ". Other schemes are told by `scheme`. */
export function readPayment(
  header: string,
): X402Payment | { readonly problem: string } | { readonly otherScheme: string } {
  try {
    return readJson(textOf(header))
  } catch (error) {
    if (error instanceof Malformed) return { problem: error.message }
    throw error
  }
}

/** The same for a payload that came in a body, as a facilitator gets it. */
export function readPaymentValue(value: unknown): ReturnType<typeof readPayment> {
  try {
    return readValue(value)
  } catch (error) {
    if (error instanceof Malformed) return { problem: error.message }
    throw error
  }
}

class Malformed extends Error {}

function textOf(header: string): string {
  if (header.length > MAX_PAYMENT_CHARACTERS)
    throw new Malformed(`has ${header.length} characters; the limit is ${MAX_PAYMENT_CHARACTERS}`)
  if (header.length === 0 || header.length % 4 === 1 || !/^[A-Za-z0-9+/]+={0,2}$/.test(header))
    throw new Malformed('is not base64')
  const bytes = Buffer.from(header, 'base64')
  const text = bytes.toString('utf8')
  if (text.includes('\uFFFD')) throw new Malformed('is not UTF-8')
  if (depthOf(text) > MAX_PAYMENT_DEPTH)
    throw new Malformed(`nests deeper than ${MAX_PAYMENT_DEPTH} levels`)
  return text
}

/** Brackets within strings count, too: nothing that a client needs has any. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (code === 0x7d || code === 0x5d) depth -= 1
  }
  return deepest
}

function readJson(text: string): ReturnType<typeof readPayment> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Malformed('is not JSON')
  }
  return readValue(value)
}

function readValue(value: unknown): ReturnType<typeof readPayment> {
  const root = recordOf(value, 'the payment')
  if (root['x402Version'] !== 2) throw new Malformed("has no 'x402Version' of 2")
  const terms = recordOf(root['accepted'], 'accepted')
  const accepted: AcceptedTerms = {
    scheme: shortText(terms['scheme'], 'accepted.scheme'),
    network: shortText(terms['network'], 'accepted.network'),
    amountUnits: units(terms['amount'], 'accepted.amount'),
    asset: address(terms['asset'], 'accepted.asset'),
    payTo: address(terms['payTo'], 'accepted.payTo'),
  }
  const payload = recordOf(root['payload'], 'payload')
  if (accepted.scheme === 'batch-settlement') return readChannelPayment(accepted, payload)
  if (accepted.scheme === 'exact') return readExact(accepted, payload)
  return { otherScheme: accepted.scheme }
}

function readChannelPayment(
  accepted: AcceptedTerms,
  payload: Record<string, unknown>,
): ChannelPayment {
  const type = payload['type']
  if (type !== 'voucher' && type !== 'deposit' && type !== 'refund')
    throw new Malformed("has a 'payload.type' that is none of voucher, deposit and refund")
  return {
    scheme: 'batch-settlement',
    accepted,
    config: readConfig(recordOf(payload['channelConfig'], 'payload.channelConfig')),
    voucher: readVoucher(recordOf(payload['voucher'], 'payload.voucher')),
    deposit:
      type === 'deposit' ? readDeposit(recordOf(payload['deposit'], 'payload.deposit')) : null,
    refund:
      type === 'refund'
        ? {
            units:
              payload['amount'] === undefined ? null : units(payload['amount'], 'payload.amount'),
          }
        : null,
  }
}

function readConfig(of: Record<string, unknown>): ChannelConfig {
  const at = configField
  const { withdrawDelay } = of
  if (
    typeof withdrawDelay !== 'number' ||
    !Number.isInteger(withdrawDelay) ||
    withdrawDelay < 0 ||
    withdrawDelay >= 2 ** 40
  )
    throw new Malformed(`has a '${at('withdrawDelay')}' that is no number of seconds`)
  return {
    payer: address(of['payer'], at('payer')),
    payerAuthorizer: address(of['payerAuthorizer'], at('payerAuthorizer')),
    receiver: address(of['receiver'], at('receiver')),
    receiverAuthorizer: address(of['receiverAuthorizer'], at('receiverAuthorizer')),
    token: address(of['token'], at('token')),
    withdrawDelay,
    salt: bytes32(of['salt'], at('salt')),
  }
}

const configField = (name: string): string => `payload.channelConfig.${name}`
const authorizationField = (name: string): string => `payload.authorization.${name}`

function readVoucher(of: Record<string, unknown>): Voucher {
  return {
    channelId: bytes32(of['channelId'], 'payload.voucher.channelId'),
    maxClaimable: units(of['maxClaimableAmount'], 'payload.voucher.maxClaimableAmount'),
    signature: bytesOf(signature(of['signature'], 'payload.voucher.signature')),
  }
}

function readDeposit(of: Record<string, unknown>): DepositAuthorization {
  const authorization = recordOf(of['authorization'], 'payload.deposit.authorization')
  const at = 'payload.deposit.authorization.erc3009Authorization'
  const erc3009 = recordOf(authorization['erc3009Authorization'], at)
  return {
    units: units(of['amount'], 'payload.deposit.amount'),
    validAfter: units(erc3009['validAfter'], `${at}.validAfter`),
    validBefore: units(erc3009['validBefore'], `${at}.validBefore`),
    salt: bytes32(erc3009['salt'], `${at}.salt`),
    signature: signature(erc3009['signature'], `${at}.signature`),
  }
}

function readExact(accepted: AcceptedTerms, payload: Record<string, unknown>): ExactPayment {
  const of = recordOf(payload['authorization'], 'payload.authorization')
  const at = authorizationField
  return {
    scheme: 'exact',
    accepted,
    from: address(of['from'], at('from')),
    to: address(of['to'], at('to')),
    valueUnits: units(of['value'], at('value')),
    validAfter: units(of['validAfter'], at('validAfter')),
    validBefore: units(of['validBefore'], at('validBefore')),
    nonce: bytes32(of['nonce'], at('nonce')),
    signature: signature(payload['signature'], 'payload.signature'),
  }
}

function recordOf(value: unknown, name: string): Record<string, unknown> {
  if (!isRecord(value)) throw new Malformed(`lacks the object '${name}'`)
  return value
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function shortText(value: unknown, name: string): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 64) return value
  throw new Malformed(`has a '${name}' that is no text of 1 to 64 characters`)
}

function units(value: unknown, name: string): bigint {
  if (typeof value === 'string' && /^\d{1,39}$/.test(value)) {
    const number = BigInt(value)
    if (number <= MAX_UINT128) return number
  }
  throw new Malformed(`has a '${name}' that is no whole number, as a text, below 2^128`)
}

function address(value: unknown, name: string): Address {
  const read = parseAddress(value)
  if (read !== null) return read
  throw new Malformed(`has a '${name}' that is no address`)
}

function bytes32(value: unknown, name: string): Hex {
  if (isHex(value, 32)) return lowerHex(value)
  throw new Malformed(`has a '${name}' that is not 32 bytes of hex`)
}

function signature(value: unknown, name: string): Hex {
  if (isHex(value, 65)) return lowerHex(value)
  throw new Malformed(
    `has a '${name}' that is not 65 bytes of hex: only keys sign here, no contracts`,
  )
}
