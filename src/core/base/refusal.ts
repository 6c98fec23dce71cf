/**
 * A refusal is an answer, not an accident: the caller may not have this, and here is why, with the numbers.
 * Faults (the world failed) are `Fault`s and are thrown; bugs are assertions. Every code has a line in docs/errors.md.
 */

/** OpenAI's error `type`s, which its SDKs map to exception classes together with the status. */
type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'insufficient_quota'
  | 'rate_limit_error'
  | 'server_error'

type Row = { readonly status: number; readonly type: ErrorType }

const bad = (status: number): Row => ({ status, type: 'invalid_request_error' })
const owed: Row = { status: 402, type: 'insufficient_quota' }

/** Code → HTTP status and OpenAI error type: the only such table. */
export const REFUSALS = {
  // What was asked is not well formed.
  invalid_json: bad(400),
  invalid_value: bad(400),
  missing_parameter: bad(400),
  unknown_parameter: bad(400),
  unsupported_feature: bad(400),
  context_length_exceeded: bad(400),
  request_too_large: bad(413),
  headers_too_large: bad(431),
  request_timeout: bad(408),
  not_acceptable: bad(415),
  invalid_sdl: bad(400),
  secret_in_clear: bad(400),
  secrets_invalid: bad(400),
  upgrade_required: bad(426),
  // What was asked for does not exist, or not for you.
  not_found: bad(404),
  method_not_allowed: bad(405),
  model_not_found: bad(404),
  missing_api_key: { status: 401, type: 'authentication_error' },
  invalid_api_key: { status: 401, type: 'authentication_error' },
  revoked_api_key: { status: 401, type: 'authentication_error' },
  expired_api_key: { status: 401, type: 'authentication_error' },
  scope_missing: { status: 403, type: 'permission_error' },
  conflict: bad(409),
  idempotency_conflict: bad(409),
  // Money and limits.
  insufficient_balance: { status: 402, type: 'insufficient_quota' },
  key_budget_exceeded: { status: 402, type: 'insufficient_quota' },
  voucher_needed: { status: 402, type: 'insufficient_quota' },
  // Payment channels: the voucher, the channel, the chain.
  voucher_signature_invalid: bad(400),
  voucher_stale: bad(409),
  voucher_above_deposit: { status: 402, type: 'insufficient_quota' },
  channel_unknown: bad(404),
  channel_closing: bad(409),
  channel_wrong_chain: bad(400),
  channel_wrong_payee: bad(400),
  channel_wrong_token: bad(400),
  channel_delay_too_short: bad(400),
  deposit_not_final: { status: 503, type: 'server_error' },
  settlement_off: bad(404),
  // Paid with the request itself (x402): the answer is 402 for each of these and for those of channels.
  payment_required: owed,
  payment_malformed: bad(400),
  payment_not_offered: owed,
  payment_over_maximum: owed,
  payment_too_low: owed,
  payment_expired: owed,
  payment_tampered: owed,
  payment_used: bad(409),
  payer_short: owed,
  deposit_too_small: owed,
  deposit_failed: owed,
  deposit_limit: { status: 503, type: 'server_error' },
  voucher_reused: owed,
  channel_busy: owed,
  channel_has_account: owed,
  chain_unavailable: { status: 503, type: 'server_error' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error' },
  concurrency_limit_exceeded: { status: 429, type: 'rate_limit_error' },
  queue_full: { status: 429, type: 'rate_limit_error' },
  // The network cannot do it now.
  no_matching_node: { status: 503, type: 'server_error' },
  no_node_available: { status: 503, type: 'server_error' },
  node_failed: { status: 502, type: 'server_error' },
  store_unavailable: { status: 503, type: 'server_error' },
  shutting_down: { status: 503, type: 'server_error' },
  internal_error: { status: 500, type: 'server_error' },
  gateway_silent: { status: 503, type: 'server_error' },
  leases_unavailable: { status: 503, type: 'server_error' },
  snapshot_unavailable: { status: 503, type: 'server_error' },
  snapshot_limit_exceeded: bad(409),
  // A tunnel into a lease: the node said no, or could not be reached.
  tunnel_refused: bad(409),
  tunnel_failed: { status: 502, type: 'server_error' },
  // The ingress: what a lease's visitor hears when its service cannot answer.
  host_unknown: bad(404),
  lease_starting: { status: 503, type: 'server_error' },
  lease_unreachable: { status: 503, type: 'server_error' },
  service_busy: { status: 503, type: 'server_error' },
  service_unreachable: { status: 502, type: 'server_error' },
  service_timeout: { status: 504, type: 'server_error' },
  // The node link (sent as a close reason, not as HTTP).
  link_malformed_frame: bad(400),
  link_frame_too_large: bad(413),
  link_version_unsupported: bad(426),
  link_key_mismatch: { status: 401, type: 'authentication_error' },
  link_bad_signature: { status: 401, type: 'authentication_error' },
  link_clock_skew: bad(400),
  link_bad_offer: bad(400),
  link_bad_payout: bad(400),
  link_wrong_address: bad(421),
  link_gateway_unproven: { status: 401, type: 'authentication_error' },
  link_replaced: bad(409),
  link_timeout: bad(408),
} as const satisfies Record<string, Row>

export type RefusalCode = keyof typeof REFUSALS

/** Numbers and names that belong to the refusal; bigints are written as decimal strings. */
export type RefusalDetails = Readonly<Record<string, string | number | boolean | bigint | null>>

export type Refusal = {
  readonly refused: true
  readonly code: RefusalCode
  /** What happened, to which thing, and what the reader can do next. */
  readonly message: string
  /** The request parameter at fault, as OpenAI's `param`: `messages[2].content`. */
  readonly param: string | null
  /** Whole seconds after which a retry can help. */
  readonly retryAfterS: number | null
  readonly details: RefusalDetails
}

export function refuse(
  code: RefusalCode,
  message: string,
  more: { param?: string; retryAfterS?: number; details?: RefusalDetails } = {},
): Refusal {
  return {
    refused: true,
    code,
    message,
    param: more.param ?? null,
    retryAfterS: more.retryAfterS ?? null,
    details: more.details ?? {},
  }
}

/** Tells a refusal from the value that was hoped for. */
export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value && value.refused === true
}

/** The JSON body that OpenAI's SDKs understand, plus our details. */
export function errorBody(refusal: Refusal): string {
  const { message, param, code, details } = refusal
  const extra = Object.keys(details).length === 0 ? {} : { details: plain(details) }
  return JSON.stringify({ error: { message, type: REFUSALS[code].type, param, code, ...extra } })
}

const plain = (details: RefusalDetails) =>
  Object.fromEntries(
    Object.entries(details).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? String(value) : value,
    ]),
  )

/** The world failed: the network, a disk, a peer. Thrown; `retryable` says whether trying again can help. */
export class Fault extends Error {
  readonly code: string
  readonly retryable: boolean

  constructor(code: string, message: string, more: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, { cause: more.cause })
    this.name = 'Fault'
    this.code = code
    this.retryable = more.retryable ?? false
  }
}

/** Text of anything thrown, for logs and messages. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
