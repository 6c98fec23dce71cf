/** What the store keeps of the chain: actions, their transactions, who sends, and the last final blocks. */
import type { Address, Hex } from 'viem'
import type { Millis } from '../../core/base/time.ts'

/** `purpose` is the idempotency key: `claim:7`, `root:12`, `settle:2026-11-23T10`. */
export type NewAction = {
  readonly purpose: string
  readonly kind: string
  readonly target: Address
  readonly data: Hex
  /** For people and for whoever wrote it: anything JSON can say. */
  readonly details?: unknown
}

/**
 * `written`: to be sent. `signed`: has a nonce and at least one transaction; it may be on its way. `mined`: in a block that
 * may still go. `final`: done. `failed`: mined and reverted, and that is final; `problem` says why.
 */
export type ActionState = 'written' | 'signed' | 'mined' | 'final' | 'failed'

/** Where it is on the chain. */
export type MinedAt = {
  readonly hash: Hex
  readonly blockNumber: bigint
  readonly blockHash: Hex
  readonly reverted: boolean
}

export type ChainAction = {
  readonly purpose: string
  readonly seq: bigint
  readonly kind: string
  readonly target: Address
  readonly data: Hex
  readonly details: unknown
  readonly state: ActionState
  readonly nonce: number | null
  readonly sinceBlock: bigint | null
  readonly mined: MinedAt | null
  /** What hinders it now, or why it failed. */
  readonly problem: string | null
  readonly tries: number
  readonly writtenAt: Millis
  readonly settledAt: Millis | null
}

export type SignedTransaction = {
  readonly hash: Hex
  readonly raw: Hex
  /** Wei for a unit of gas. */
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
}

/** An action on its way, with all that was signed for the nonce it has; the newest last. */
export type ActionInFlight = ChainAction & {
  readonly nonce: number
  readonly gas: bigint
  readonly sinceBlock: bigint
  readonly transactions: readonly (SignedTransaction & { readonly signedAt: Millis })[]
}

export type BlockRef = { readonly number: bigint; readonly hash: Hex }

export type ChainActionStore = {
  /** `writeAction` in a transaction of its own. */
  writeChainAction(action: NewAction): Promise<'written' | 'duplicate'>
  /** In the order in which they were written; at most `limit`. */
  chainActions(of: {
    readonly kind?: string
    readonly state?: ActionState
    readonly limit: number
  }): Promise<ChainAction[]>
  chainAction(purpose: string): Promise<ChainAction | null>
  /** How many there are in each state that is not the end. */
  openChainActions(): Promise<{
    readonly written: number
    readonly signed: number
    readonly mined: number
  }>

  /** Whether this gateway may send for this key during the next `forMs`; by the database's clock. */
  holdSender(sender: Address, gateway: string, forMs: Millis): Promise<boolean>
  releaseSender(sender: Address, gateway: string): Promise<void>
  /** Written actions whose time to try has come, in order; at most `limit`. */
  actionsToSend(now: Millis, limit: number): Promise<ChainAction[]>
  /** It cannot be sent now. */
  deferAction(purpose: string, problem: string, retryAt: Millis): Promise<void>
  /**
   * Gives a written action the first nonce of this sender that is free from `from` on, has it signed and keeps both, all in
   * one transaction. False: it is not to be sent by this gateway, or not any more.
   */
  signAction(
    of: {
      readonly purpose: string
      readonly sender: Address
      readonly gateway: string
      readonly from: number
      readonly gas: bigint
      readonly sinceBlock: bigint
    },
    sign: (nonce: number) => Promise<SignedTransaction>,
  ): Promise<boolean>
  /** Another transaction for the same nonce. False: it is not to be sent by this gateway, or not any more. */
  addTransaction(
    of: {
      readonly purpose: string
      readonly sender: Address
      readonly gateway: string
      readonly nonce: number
    },
    transaction: SignedTransaction,
  ): Promise<boolean>
  /** What is signed or mined, by nonce. */
  actionsInFlight(sender: Address): Promise<ActionInFlight[]>
  /** Signed, or mined elsewhere before: it is mined here now. */
  noteMined(purpose: string, at: MinedAt): Promise<void>
  /** Its block is gone: signed again. */
  noteUnmined(purpose: string, blockHash: Hex): Promise<void>
  /** The block that it is in is final. Gives what it is now; null: it is not in that block. */
  noteSettled(
    purpose: string,
    blockHash: Hex,
    problem: string | null,
    now: Millis,
  ): Promise<ChainAction | null>
  /** Somebody else's transaction has its nonce for good: it is written again, and gets another. */
  loseNonce(purpose: string, nonce: number, problem: string): Promise<void>
  /** What was settled above this block is signed again: that it was final does not hold any more. Gives how many. */
  reopenActions(sender: Address, above: bigint): Promise<number>
}

export type ChainBlockStore = {
  /** Of the chain that this database is about: notes it the first time, and says ever after what was noted. */
  meetChain(chain: { readonly chainId: number; readonly genesis: Hex }): Promise<{
    readonly chainId: number
    readonly genesis: Hex
  }>
  /** The last final blocks, newest first; at most `limit`. */
  finalBlocks(limit: number): Promise<BlockRef[]>
  /** Keeps these, and of all only the newest `keep`. */
  addFinalBlocks(blocks: readonly BlockRef[], keep: number): Promise<void>
  /** A reorganisation: what is above this block is not final any more. */
  dropFinalBlocks(above: bigint): Promise<void>
}
