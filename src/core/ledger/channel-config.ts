/**
 * A channel's terms, as the contract knows them: their EIP-712 hash is the channel's id, so nothing of them ever changes.
 */
import type { Address, Hex } from '../base/hex.ts'

export type ChannelConfig = {
  readonly payer: Address
  /** The key that signs vouchers; zero: the payer itself. */
  readonly payerAuthorizer: Address
  readonly receiver: Address
  /** Says how much is claimed and refunded. */
  readonly receiverAuthorizer: Address
  readonly token: Address
  /** Seconds from asking to leave to leaving: 15 minutes to 30 days. */
  readonly withdrawDelay: number
  /** 32 bytes; tells channels with equal parties apart. */
  readonly salt: Hex
}

/** A ceiling for all that was ever spent of a channel, signed. */
export type Voucher = {
  readonly channelId: Hex
  /** Units of the token, cumulative. */
  readonly maxClaimable: bigint
  /** 65 bytes: r, s, v. */
  readonly signature: Uint8Array
}

/** Beyond it a `uint128` ends. */
export const MAX_UINT128 = 2n ** 128n - 1n
