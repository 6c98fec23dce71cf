/** Payment channels as the store keeps them. Amounts are units of the token. */
import type { Address, Hex } from '../../core/base/hex.ts'
import type { Millis } from '../../core/base/time.ts'
import type { ChannelConfig } from '../../core/ledger/channel-config.ts'
import type { ChannelMoney, ChannelOnChain } from '../../core/ledger/channel.ts'
import type { Transaction } from './database.ts'

/** Where the money of channels comes from in the ledger, and goes back to. */
export const VOUCHERS = 'world:vouchers'

/** Which deployment of the contract: rows of another one are left alone. */
export type ChannelPlace = { readonly chainId: number; readonly contract: Address }

export type ChannelRecord = ChannelMoney & {
  readonly id: Hex
  readonly account: string
  readonly config: ChannelConfig
  readonly exitAt: Millis | null
  /** Number of the final block that `balanceUnits` and `claimedUnits` are of. */
  readonly finalBlock: bigint
  /** Of the voucher for `ceilingUnits`. */
  readonly signature: Hex | null
  readonly claimUnits: bigint
  readonly claimPurpose: string | null
  readonly claimFailures: number
  readonly refundPurpose: string | null
  readonly createdAt: Millis
}

export type NewChannel = {
  readonly id: Hex
  readonly account: string
  readonly config: ChannelConfig
  readonly final: FinalChannel
}

export type FinalChannel = ChannelOnChain & { readonly block: bigint }

export type NewVoucher = {
  readonly channel: Hex
  readonly ceilingUnits: bigint
  readonly signature: Hex
}

/**
 * `credited`: now, and durable. `known`: as much was allowed before. The others moved nothing: `closing`, `above_deposit`
 * (of the final block that the store knows), `unknown`.
 */
export type VoucherOutcome = 'credited' | 'known' | 'closing' | 'above_deposit' | 'unknown'

/** What was seen of a channel on chain. */
export type ChannelSighting = {
  readonly id: Hex
  /** At a final block; null: nothing new. */
  readonly final: FinalChannel | null
  /** When the payer who leaves by itself can take the rest, at any depth; null: nobody is leaving that way. */
  readonly exitAt: Millis | null
}

/** How claims and refunds become actions on chain, in the transaction that notes them. */
export type ChannelActions = {
  /** Writes a claim of these channels' `claimUnits`, and the payment of what it yields. */
  claim(sql: Transaction, purpose: string, channels: readonly ChannelRecord[]): Promise<void>
  /** Writes the refund of so many units to the payer. */
  refund(sql: Transaction, purpose: string, channel: ChannelRecord, units: bigint): Promise<void>
}

export type ChannelStore = {
  /** Binds a channel to an account; one that is bound already stays as it is. Gives what is there. */
  bindChannel(place: ChannelPlace, channel: NewChannel): Promise<ChannelRecord>
  /** All of this place, oldest first. */
  channelsAt(place: ChannelPlace): Promise<ChannelRecord[]>
  channelRecords(ids: readonly Hex[]): Promise<ChannelRecord[]>
  /** Raises ceilings and credits their accounts, in one durable commit; one voucher for each channel, at most 500. In order. */
  creditVouchers(vouchers: readonly NewVoucher[]): Promise<VoucherOutcome[]>
  /**
   * Takes over what was seen of channels of one account, counts what is spent of all of them, and moves credit to where it then
   * belongs. Sightings of a block before the one that is known are left out, but for `again`: after a reorganisation.
   * Gives all channels of the account, oldest first.
   */
  reconcileChannels(
    place: ChannelPlace,
    account: string,
    sightings: readonly ChannelSighting[],
    again?: boolean,
  ): Promise<ChannelRecord[]>
  /** Both agree to close it; then as `reconcileChannels`. */
  leaveChannel(place: ChannelPlace, account: string, id: Hex): Promise<ChannelRecord[]>
  /**
   * Writes a claim of what of these channels is spent and not claimed yet; at most 200 in one. Gives what was written, each
   * with its new `claimUnits`. Channels that another gateway just claims for are left out.
   */
  writeClaim(ids: readonly Hex[], actions: ChannelActions): Promise<ChannelRecord[]>
  /** The last claim is over, and the chain does not say what it said: it will be written anew. */
  claimMissed(id: Hex, purpose: string): Promise<void>
  /** Writes the refund of a channel that closes by consent and has nothing unspent any more. False: not now. */
  writeRefund(id: Hex, actions: ChannelActions): Promise<boolean>
  /** The refund is through. */
  closeChannel(id: Hex, refundPurpose: string): Promise<void>
}
