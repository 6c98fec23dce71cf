/**
 * Why a payment is not taken, twice: our refusal for the JSON body, and x402's word for the header, by which its clients know
 * what to do. https://github.com/x402-foundation/x402, specs/schemes/batch-settlement/scheme_batch_settlement_evm.md
 */
import {
  refuse,
  type Refusal,
  type RefusalCode,
  type RefusalDetails,
} from '../../../core/base/refusal.ts'
import type { Corrective } from './terms.ts'

export type PaymentFault = {
  readonly refusal: Refusal
  /** x402's error code. */
  readonly word: string
  /** From where the client can go on. */
  readonly corrective: Corrective | null
}

const BATCH = 'invalid_batch_settlement_evm_'
/** To this word alone clients answer by going on from the corrective state, and signing again. */
const OUT_OF_STEP = `${BATCH}cumulative_amount_mismatch`

const WORDS: Partial<Record<RefusalCode, string>> = {
  payment_required: 'PAYMENT-SIGNATURE header is required',
  payment_malformed: `${BATCH}payload_type`,
  payment_not_offered: `${BATCH}scheme`,
  payment_over_maximum: OUT_OF_STEP,
  payment_too_low: OUT_OF_STEP,
  payment_expired: `${BATCH}payload_authorization_valid_before`,
  payment_tampered: `${BATCH}channel_id_mismatch`,
  payer_short: `${BATCH}insufficient_balance`,
  deposit_too_small: `${BATCH}deposit_below_min_deposit`,
  deposit_failed: `${BATCH}deposit_transaction_failed`,
  deposit_limit: `${BATCH}verification_state_unavailable`,
  deposit_not_final: `${BATCH}verification_state_unavailable`,
  chain_unavailable: `${BATCH}rpc_read_failed`,
  voucher_signature_invalid: `${BATCH}voucher_signature`,
  voucher_stale: OUT_OF_STEP,
  voucher_reused: OUT_OF_STEP,
  voucher_above_deposit: `${BATCH}cumulative_exceeds_balance`,
  channel_unknown: `${BATCH}channel_not_found`,
  channel_wrong_chain: `${BATCH}network_mismatch`,
  channel_wrong_payee: `${BATCH}receiver_mismatch`,
  channel_wrong_token: `${BATCH}token_mismatch`,
  channel_closing: `${BATCH}missing_channel`,
  channel_busy: `${BATCH}channel_busy`,
  channel_has_account: `${BATCH}missing_channel`,
  channel_delay_too_short: `${BATCH}withdraw_delay_mismatch`,
}

export function fault(
  code: RefusalCode,
  message: string,
  more: {
    word?: string
    corrective?: Corrective
    retryAfterS?: number
    details?: RefusalDetails
  } = {},
): PaymentFault {
  const { word, corrective = null, ...rest } = more
  return { refusal: refuse(code, message, rest), word: word ?? wordFor(code), corrective }
}

/** The fault for a refusal that came from elsewhere. */
export const faultOf = (refusal: Refusal): PaymentFault => ({
  refusal,
  word: wordFor(refusal.code),
  corrective: null,
})

const wordFor = (code: RefusalCode): string => WORDS[code] ?? 'unexpected_verify_error'

export const isFault = (value: object): value is PaymentFault =>
  'refusal' in value && 'word' in value
