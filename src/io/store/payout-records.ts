/** What the store keeps of payouts: where nodes want their money, epochs, and what each address is owed. */
import type { Address, Hex } from 'viem'
import type { NanoUsd } from '../../core/base/money.ts'
import type { Millis } from '../../core/base/time.ts'
import type { NewAction } from './chain-records.ts'

/** Nano-dollars in the smallest unit of the token. */
export const NANO_USD_PER_UNIT = 1_000n
/** Where the operator's fee of payouts goes, and where payouts leave the ledger. */
export const FEES = 'operator:fees'
export const PAYOUTS = 'world:payouts'

export type PayoutAddress = {
  readonly node: string
  /** Lower case. */
  readonly address: Address
  /** It takes the place of `address` when the open epoch closes; null: no change is due. */
  readonly nextAddress: Address | null
  readonly sequence: number
}

export type PayoutEpoch = {
  readonly number: number
  readonly feeBps: number
  readonly openedAt: Millis
  readonly closed: ClosedEpoch | null
}

export type ClosedEpoch = {
  readonly at: Millis
  readonly root: Hex
  /** Units owed by all epochs up to this one. */
  readonly totalUnits: bigint
  /** Units that this one added. */
  readonly paidUnits: bigint
  readonly feeNanoUsd: NanoUsd
}

/** Units since the beginning. */
export type PayoutLeaf = { readonly address: Address; readonly cumulativeUnits: bigint }

/** What an address is owed now: all closed epochs, and what its nodes have earned since, less the fee. */
export type OwedNow = PayoutLeaf & {
  /** The open one: the root of it will owe so much at least. */
  readonly epoch: number
  readonly feeBps: number
  /** Of its nodes, those that were asked about. */
  readonly nodes: readonly string[]
}

export type ClosingPlan = { readonly root: Hex; readonly actions: readonly NewAction[] }

export type PayoutClosing = {
  readonly epoch: number
  /** Fee of the epoch that opens next, in hundredths of a percent. */
  readonly nextFeeBps: number
  readonly now: Millis
  /** Close it although nothing is owed that the last root does not have: that root came to nothing. */
  readonly evenIfNothing: boolean
  /**
   * The root over all leaves, ordered by address, and what is to be done on chain. Called within the transaction: must
   * not wait for anything, and give the same for the same. What it throws undoes the closing.
   */
  readonly plan: (leaves: readonly PayoutLeaf[], totalUnits: bigint) => ClosingPlan
}

export type PayoutStore = {
  /**
   * Notes where a node wants its earnings; a sequence that is not above the last one changes nothing. The first address
   * holds at once, another from the next epoch on.
   */
  notePayoutAddress(wish: {
    readonly node: string
    readonly address: Address
    readonly sequence: number
    readonly statement: string
    readonly signature: string
    readonly now: Millis
  }): Promise<PayoutAddress>
  payoutAddress(node: string): Promise<PayoutAddress | null>

  /** The open epoch; the first one is made when there is none, with this number and fee. */
  openPayoutEpoch(first: { number: number; feeBps: number; now: Millis }): Promise<PayoutEpoch>
  /** Newest first, below `before`. */
  payoutEpochs(of: { readonly limit: number; readonly before?: number }): Promise<PayoutEpoch[]>
  payoutEpoch(number: number): Promise<PayoutEpoch | null>
  payoutEpochByRoot(root: Hex): Promise<PayoutEpoch | null>
  /** All leaves of the tree of a closed epoch, by address. */
  payoutLeaves(epoch: number): Promise<PayoutLeaf[]>

  /** What is owed to the addresses of these nodes, from one snapshot. At most 1,000 nodes; those without address are left out. */
  owedToNodes(nodes: readonly string[]): Promise<OwedNow[]>
  /** The same for one address, over all of its nodes; null: it was never named by a node. */
  owedTo(address: Address): Promise<OwedNow | null>
  /** All that is owed beyond the newest closed epoch: units to pay and the fee on them, were the epoch closed now. */
  payoutsDue(): Promise<{
    readonly units: bigint
    readonly totalUnits: bigint
    readonly feeNanoUsd: NanoUsd
  }>

  /**
   * Closes an epoch and opens the next, all or nothing: fees and payouts leave the nodes' balances, leaves are fixed, chain
   * actions are written. `late`: it is closed already, or another gateway was first. `nothing`: nothing new is owed.
   */
  closePayoutEpoch(closing: PayoutClosing): Promise<PayoutEpoch | 'late' | 'nothing'>
}
