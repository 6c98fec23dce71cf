/**
 * Payment channels as the routes, the x402 door and the meter see them. `ChannelBook` keeps them: it verifies from memory,
 * makes durable in batches, and credits the ledger. Methods that ask the store throw Fault `store_unavailable` while it is
 * away; those that ask the chain refuse with `chain_unavailable`.
 */
import type { Address, Hex } from '../../../core/base/hex.ts'
import type { Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { ChannelConfig, Voucher } from '../../../core/ledger/channel-config.ts'

/** `closing`: somebody leaves; no voucher is taken any more. `closed`: all that was unspent has gone back. */
export type ChannelState = 'open' | 'closing' | 'closed'

/** All amounts in units of the token, cumulative since the channel's beginning. */
export type ChannelView = {
  readonly id: Hex
  readonly account: string
  readonly config: ChannelConfig
  readonly state: ChannelState
  /** In the contract at the last final block, what was claimed included. */
  readonly balanceUnits: bigint
  /** Of the newest voucher. */
  readonly ceilingUnits: bigint
  /** What the ledger has credited for it. */
  readonly creditedUnits: bigint
  /** What of it was spent, when it was last counted: nothing above it is ever claimed. */
  readonly chargedUnits: bigint
  /** On chain, at the last final block. */
  readonly claimedUnits: bigint
  /** When a payer who leaves without consent can take the rest; null: nobody is leaving that way. */
  readonly exitAt: Millis | null
}

export type Accepted = {
  readonly channel: ChannelView
  /** How much this voucher adds to the credit of the channel's account. */
  readonly creditedUnits: bigint
  /**
   * Null when the voucher is committed and credited; a refusal when the store knew better (another gateway saw the payer
   * leave). A voucher is acknowledged to its payer only after this. Rejects with a Fault only when the gateway closes first.
   */
  readonly durable: Promise<Refusal | null>
}

export type ChannelService = {
  /**
   * Takes a voucher: at once for a channel that is known here. With `config` a channel that is not known is opened first, for the
   * account of its payer. Refuses: voucher_signature_invalid, voucher_stale (the ceiling is not higher), voucher_above_deposit,
   * channel_unknown, channel_closing, and what `open` refuses.
   */
  accept(voucher: Voucher, config?: ChannelConfig): Accepted | Refusal | Promise<Accepted | Refusal>

  /** By the terms, on this gateway's chain. */
  channelId(config: ChannelConfig): Hex

  /** Whether the payer of a channel that is known here signed this, whatever its ceiling. */
  verify(voucher: Voucher): Refusal | null

  /**
   * Reads the contract at the last final block and binds the channel to an account, for ever: the first binding wins. `account`
   * null: the payer's own account, made when it is not there. `proof` is any voucher of the channel.
   * Refuses: channel_wrong_payee, channel_wrong_token, channel_delay_too_short, channel_unknown (no deposit),
   * deposit_not_final, channel_closing, voucher_signature_invalid, conflict (bound to another account).
   */
  open(
    config: ChannelConfig,
    account: string | null,
    proof: Voucher,
  ): Promise<ChannelView | Refusal>

  /** Resolves when nothing of this channel is on its way to the store any more. */
  settled(id: Hex): Promise<void>

  /** Null: not known here. */
  channel(id: Hex): ChannelView | null
  /** Of this account, oldest first. */
  channels(account: string): readonly ChannelView[]

  /** Counts what is spent of the channel's account by now, as far as it is settled, and gives the view. */
  refresh(id: Hex): Promise<ChannelView | Refusal>

  /** Takes back what is unspent, claims the rest and refunds: on its way when this resolves, see `state`. */
  close(id: Hex, account: string): Promise<ChannelView | Refusal>
}

/** What a tenant has to know before it deposits. */
export type ChainFacts = {
  readonly chainId: number
  readonly channels: Address
  /** Brings deposits by EIP-3009; null: there is none. */
  readonly collector: Address | null
  readonly payouts: Address | null
  readonly token: { readonly address: Address; readonly symbol: string; readonly decimals: number }
  readonly operator: Address
  readonly testMoney: boolean
  /** How many blocks a deposit waits. */
  readonly finalityDepth: number
  /** Where tenants may reach the chain; null: they bring an address of their own. */
  readonly rpcUrl: string | null
  readonly minWithdrawDelayS: number
  /** What to sign at least each time, units. */
  readonly stepUnits: bigint
  readonly feeBps: number
}

/** For the control API. */
export type SettlementDesk = { readonly channels: ChannelService; readonly facts: ChainFacts }
