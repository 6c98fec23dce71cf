/** Whether a payment is on this gateway's terms, each of them by its name. Pure: what it says is checked, not whether it is so. */
import { ZERO_ADDRESS, type Hex } from '../../../core/base/hex.ts'
import type { AcceptedTerms, ChannelPayment } from '../../../core/ledger/x402-payment.ts'
import { fault, type PaymentFault } from './payment-fault.ts'
import { networkOf, type X402Terms } from './terms.ts'

const WORD = 'invalid_batch_settlement_evm_'

/** Null: it is. `channelId`: the hash of the payment's own config on this chain. */
export function offTerms(
  { accepted, config, voucher }: ChannelPayment,
  channelId: Hex,
  terms: X402Terms,
): PaymentFault | null {
  const off = acceptedOff(accepted, terms)
  if (off) return off
  const { operator, token, withdrawDelayS } = terms
  if (config.receiver !== operator)
    return fault(
      'channel_wrong_payee',
      `The channel's receiver is ${config.receiver}; this gateway is paid at ${operator}. Open a channel for it.`,
    )
  if (config.receiverAuthorizer !== operator)
    return fault(
      'channel_wrong_payee',
      `The channel's receiverAuthorizer is ${config.receiverAuthorizer}; here it is ${operator}. Open a channel with it.`,
      { word: `${WORD}receiver_authorizer_mismatch` },
    )
  if (config.token !== token.address)
    return fault(
      'channel_wrong_token',
      `The channel holds the token ${config.token}; this gateway takes ${token.symbol} at ${token.address}.`,
    )
  if (config.withdrawDelay !== withdrawDelayS)
    return fault(
      'channel_delay_too_short',
      `The channel's withdrawDelay is ${config.withdrawDelay} s; here it is ${withdrawDelayS} s. Open a channel with it.`,
    )
  if (config.payer === ZERO_ADDRESS || config.payer === operator)
    return fault('payment_malformed', "The channel's payer is no one who could pay.")
  if (voucher.channelId !== channelId)
    return fault(
      'payment_tampered',
      `The voucher is for the channel ${voucher.channelId}, and the channel's terms make ${channelId}.`,
    )
  return null
}

export function acceptedOff(
  { network, asset, payTo }: AcceptedTerms,
  terms: X402Terms,
): PaymentFault | null {
  const { operator, token } = terms
  if (network !== networkOf(terms))
    return fault(
      'channel_wrong_chain',
      `The payment is for the network ${network}; this gateway is paid on ${networkOf(terms)}.`,
    )
  if (asset !== token.address)
    return fault(
      'channel_wrong_token',
      `The payment is in the token ${asset}; this gateway takes ${token.symbol} at ${token.address}.`,
    )
  if (payTo !== operator)
    return fault('channel_wrong_payee', `The payment is to ${payTo}; here it is to ${operator}.`)
  return null
}
