/** An anvil as `Chain` shows it, final two blocks below the head, looked at when it is told to. For tests. */
import type { PublicClient } from 'viem'
import { lowerHex, type Address } from '../../../core/base/hex.ts'
import type { FinalBlock } from './channel-chain.ts'
import type { SettlementChain } from './settlement.ts'

const DEPTH = 2

export class FakeChain implements SettlementChain {
  readonly chainId: number
  readonly addresses: SettlementChain['addresses']
  readonly token: SettlementChain['token']
  readonly operator: Address
  readonly testMoney = true
  readonly finalityDepth = DEPTH
  readonly client: PublicClient
  #final: FinalBlock | null = null
  readonly #heads = new Set<() => void>()
  readonly #reorgs = new Set<() => void>()

  constructor(of: {
    readonly chainId: number
    readonly addresses: { readonly channels: Address; readonly token: Address }
    readonly client: PublicClient
    readonly operator: Address
  }) {
    this.chainId = of.chainId
    this.addresses = of.addresses
    this.token = { address: lowerHex(of.addresses.token), decimals: 6, symbol: 'USDC' }
    this.operator = of.operator
    this.client = of.client
  }

  finalBlock(): FinalBlock | null {
    return this.#final
  }

  onHead(listener: () => void): () => void {
    this.#heads.add(listener)
    return () => this.#heads.delete(listener)
  }

  onFinal(): () => void {
    return () => {}
  }

  onReorg(listener: () => void): () => void {
    this.#reorgs.add(listener)
    return () => this.#reorgs.delete(listener)
  }

  wake(): void {}

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** Looks at the head, as the follower of the chain does by itself. */
  async see(): Promise<void> {
    const head = await this.client.getBlockNumber()
    const number = head > BigInt(DEPTH) ? head - BigInt(DEPTH) : 0n
    const block = await this.client.getBlock({ blockNumber: number })
    const known = this.#final
    if (known !== null && known.number <= number) {
      const there = await this.client.getBlock({ blockNumber: known.number })
      if (there.hash !== known.hash) for (const listener of this.#reorgs) listener()
    }
    this.#final = { number, hash: block.hash }
    for (const listener of this.#heads) listener()
  }
}
