/** Why a channel or voucher is not taken, in words. */
import type { Address, Hex } from '../../../core/base/hex.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'

/** Blocks come every few seconds; a deposit is final some blocks later. */
const RETRY_FINAL_S = 5
const RETRY_CHAIN_S = 2

export const signatureInvalid = (id: Hex, signer: Address): Refusal =>
  refuse(
    'voucher_signature_invalid',
    `This voucher of the channel ${id} is not signed by ${signer}: 65 bytes r, s, v over the EIP-712 voucher, s low, v 27 or 28. ` +
      'A wallet that is a contract names a key as payerAuthorizer.',
    { details: { channelId: id, signer } },
  )

export const channelUnknown = (id: Hex): Refusal =>
  refuse(
    'channel_unknown',
    `There is no channel ${id} here, or it has no deposit. Deposit into it, then bind it: POST /v1/channels.`,
    { details: { channelId: id } },
  )

export const depositNotFinal = (id: Hex, units: bigint): Refusal =>
  refuse(
    'deposit_not_final',
    `The deposit of ${units} units in the channel ${id} is on chain but not final yet. Send this again in a moment.`,
    { retryAfterS: RETRY_FINAL_S, details: { channelId: id, units } },
  )

export const channelClosing = (id: Hex): Refusal =>
  refuse(
    'channel_closing',
    `The payer of the channel ${id} has asked to leave it, so it takes no vouchers. Open another one, or wait until it has left.`,
    { details: { channelId: id } },
  )

export const wrongPayee = (operator: Address): Refusal =>
  refuse(
    'channel_wrong_payee',
    `A channel for this gateway names ${operator} as receiver and as receiverAuthorizer. GET /v1/chain tells it.`,
    { param: 'config.receiver', details: { operator } },
  )

export const wrongToken = (token: Address): Refusal =>
  refuse('channel_wrong_token', `This gateway takes the token ${token}. GET /v1/chain tells it.`, {
    param: 'config.token',
    details: { token },
  })

export const delayTooShort = (needS: number, got: number): Refusal =>
  refuse(
    'channel_delay_too_short',
    `A channel's withdrawDelay must be ${needS} seconds at least, so that what was spent can be claimed; got ${got}.`,
    { param: 'config.withdrawDelay', details: { need: needS, got } },
  )

export const boundElsewhere = (id: Hex): Refusal =>
  refuse('conflict', `The channel ${id} belongs to another account. Open one for this account.`, {
    details: { channelId: id },
  })

export const chainUnavailable = (): Refusal =>
  refuse(
    'chain_unavailable',
    `The chain cannot be read just now. Try again in ${RETRY_CHAIN_S} seconds.`,
    { retryAfterS: RETRY_CHAIN_S },
  )

export const settlementOff = (): Refusal =>
  refuse(
    'settlement_off',
    'This gateway settles nothing on a chain: it takes no channels. Its operator can set settlement to "chain".',
  )
