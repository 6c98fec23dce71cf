/** What channels need of a chain: `Chain` fits. */
import type { PublicClient } from 'viem'
import type { Address, Hex } from '../../../core/base/hex.ts'

export type FinalBlock = { readonly number: bigint; readonly hash: Hex }

type Stop = () => void

export type ChannelChain = {
  readonly chainId: number
  readonly addresses: { readonly channels: Address }
  readonly token: { readonly address: Address; readonly decimals: number; readonly symbol: string }
  /** Receiver and receiverAuthorizer of this network's channels; sends what is written. */
  readonly operator: Address
  readonly testMoney: boolean
  readonly client: PublicClient
  finalBlock(): FinalBlock | null
  /** Each new head; nothing of it is certain. */
  onHead(listener: () => void): Stop
  onFinal(listener: () => void): Stop
  /** Blocks that were said to be final are gone. */
  onReorg(listener: () => void): Stop
  /** Actions were written. */
  wake(): void
}
