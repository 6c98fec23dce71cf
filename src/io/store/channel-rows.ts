/** A channel's row, and the record it becomes. */
import type { Address, Hex } from '../../core/base/hex.ts'
import type { ChannelState, Leaving } from '../../core/ledger/channel.ts'
import type { ChannelRecord } from './channel-records.ts'

export type ChannelRow = {
  readonly id: Hex
  readonly ordinal: bigint
  readonly account: string
  readonly payer: Address
  readonly payer_authorizer: Address
  readonly receiver: Address
  readonly receiver_authorizer: Address
  readonly token: Address
  readonly withdraw_delay: bigint
  readonly salt: Hex
  readonly state: ChannelState
  readonly leaving: Leaving | null
  readonly exit_at: bigint | null
  readonly final_block: bigint
  readonly balance_units: bigint
  readonly claimed_units: bigint
  readonly ceiling_units: bigint
  readonly signature: Hex | null
  readonly allowed_units: bigint
  readonly credited_units: bigint
  readonly uncollected_units: bigint
  readonly charged_units: bigint
  readonly returns: bigint
  readonly claim_units: bigint
  readonly claim_purpose: string | null
  readonly claim_failures: number
  readonly refund_purpose: string | null
  readonly refunds: bigint
  readonly created_at: bigint
}

export const channelOf = (row: ChannelRow): ChannelRecord => ({
  id: row.id,
  account: row.account,
  config: {
    payer: row.payer,
    payerAuthorizer: row.payer_authorizer,
    receiver: row.receiver,
    receiverAuthorizer: row.receiver_authorizer,
    token: row.token,
    withdrawDelay: Number(row.withdraw_delay),
    salt: row.salt,
  },
  state: row.state,
  leaving: row.leaving,
  exitAt: row.exit_at === null ? null : Number(row.exit_at),
  finalBlock: row.final_block,
  balanceUnits: row.balance_units,
  claimedUnits: row.claimed_units,
  ceilingUnits: row.ceiling_units,
  signature: row.signature,
  allowedUnits: row.allowed_units,
  creditedUnits: row.credited_units,
  uncollectedUnits: row.uncollected_units,
  chargedUnits: row.charged_units,
  claimUnits: row.claim_units,
  claimPurpose: row.claim_purpose,
  claimFailures: row.claim_failures,
  refundPurpose: row.refund_purpose,
  createdAt: Number(row.created_at),
})
