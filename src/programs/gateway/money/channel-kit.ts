/** A payer, a chain with our contracts, and a gateway's channels on it, for tests. */
import type { TestContext } from 'node:test'
import { encodeFunctionData, type Hex as ViemHex } from 'viem'
import { bytesOf, lowerHex, ZERO_ADDRESS, type Address, type Hex } from '../../../core/base/hex.ts'
import type { ChannelConfig, Voucher } from '../../../core/ledger/channel-config.ts'
import { channelsAbi } from '../../../io/chain/abi/channels.ts'
import { mockUsdcAbi } from '../../../io/chain/abi/mock-usdc.ts'
import { testChain, type TestChain, type TestWallet } from '../../../io/chain/local/test-chain.ts'
import { channelsTypedData } from '../../../io/chain/typed-data.ts'
import { secp256k1 } from '../../../io/keys/secp256k1.ts'
import { randomHex } from '../../../io/store/channel-kit.ts'
import type { Store } from '../../../io/store/store.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { ChannelBook } from './channel-book.ts'
import { ChannelSync } from './channel-sync.ts'
import { Claims } from './claims.ts'
import { FakeChain } from './fake-chain.ts'

/** The channels of one gateway. `stop` and a new one over the same store is a restart. */
export async function testChannels(chain: FakeChannelChain, store: Store, epochMs = 3_600_000) {
  const { now } = Date
  const parts = { chain, store, logger: silentLogger, now }
  const book = new ChannelBook({ ...parts, minWithdrawDelayS: 900, stepUnits: 1_000n })
  const claims: Claims = new Claims({
    ...parts,
    book,
    epochMs,
    claimAboveUnits: 10n ** 12n,
    release: () => {},
  })
  const sync = new ChannelSync({ ...parts, book, looked: () => void claims.look() })
  await sync.start()
  return {
    book,
    claims,
    sync,
    /** What is final is looked at, what follows is written. */
    async look() {
      await sync.look()
      await claims.look()
    },
    async stop() {
      await sync.stop()
      await claims.stop()
      await book.stop()
    },
  }
}

/** With an operator's wallet: what is written is sent when `settle` says so. */
export class FakeChannelChain extends FakeChain {
  readonly chain: TestChain
  readonly operatorWallet: TestWallet

  constructor(chain: TestChain, operatorWallet: TestWallet) {
    super({ ...chain, operator: operatorWallet.address })
    this.chain = chain
    this.operatorWallet = operatorWallet
  }

  static async start(t: TestContext): Promise<FakeChannelChain> {
    const chain = await testChain(t)
    const fake = new FakeChannelChain(chain, await chain.wallet())
    await fake.finalise()
    return fake
  }

  /** All that is mined is final now. */
  async finalise(): Promise<void> {
    await this.chain.mine(this.finalityDepth)
    await this.see()
  }

  /** Sends what was written, one transaction a block, and makes it final. Gives the purposes sent. */
  async settle(store: Store): Promise<string[]> {
    const sender = this.operator
    const gateway = 'gw_test'
    await store.holdSender(sender, gateway, 60_000)
    const purposes: string[] = []
    for (const action of await store.actionsToSend(Date.now(), 100)) {
      const of = { sender, gateway, from: 0, gas: 5_000_000n, sinceBlock: 0n }
      const { account, client: wallet } = this.operatorWallet
      const fees = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n }
      await store.signAction({ ...of, purpose: action.purpose }, async (nonce) => {
        const { target: to, data } = action
        const raw = await account.signTransaction({
          to,
          data,
          nonce,
          gas: of.gas,
          chainId: this.chainId,
          type: 'eip1559',
          ...fees,
        })
        const hash = await wallet.sendRawTransaction({ serializedTransaction: raw })
        return { hash, raw, ...fees }
      })
      const [flight] = (await store.actionsInFlight(sender)).filter(
        ({ purpose }) => purpose === action.purpose,
      )
      const hash = flight?.transactions.at(-1)?.hash
      if (hash === undefined) throw new Error(`${action.purpose} was not sent`)
      const receipt = await this.client.waitForTransactionReceipt({ hash })
      const { blockNumber, blockHash, status } = receipt
      const reverted = status === 'reverted'
      await store.noteMined(action.purpose, { hash, blockNumber, blockHash, reverted })
      await store.noteSettled(action.purpose, blockHash, reverted ? 'reverted' : null, Date.now())
      purposes.push(action.purpose)
    }
    await this.finalise()
    return purposes
  }

  balanceOf(address: Address): Promise<bigint> {
    return this.client.readContract({
      address: this.token.address,
      abi: mockUsdcAbi,
      functionName: 'balanceOf',
      args: [address],
    })
  }
}

/** Somebody with money on chain who deposits for this operator, and signs. */
export class TestPayer {
  readonly wallet: TestWallet
  readonly config: ChannelConfig
  readonly channelId: Hex
  readonly #chain: FakeChannelChain
  readonly #data: ReturnType<typeof channelsTypedData>

  constructor(chain: FakeChannelChain, wallet: TestWallet, more: Partial<ChannelConfig> = {}) {
    this.#chain = chain
    this.wallet = wallet
    this.config = {
      payer: lowerHex(wallet.address),
      payerAuthorizer: ZERO_ADDRESS,
      receiver: lowerHex(chain.operator),
      receiverAuthorizer: lowerHex(chain.operator),
      token: chain.token.address,
      withdrawDelay: 3_600,
      salt: randomHex(32),
      ...more,
    }
    const { chainId, addresses } = chain
    this.#data = channelsTypedData({ chainId, verifyingContract: addresses.channels })
    this.channelId = this.#data.channelId(this.config)
  }

  static async start(chain: FakeChannelChain, units: bigint): Promise<TestPayer> {
    const wallet = await chain.chain.wallet('10', units)
    const payer = new TestPayer(chain, wallet)
    await payer.#send(
      chain.token.address,
      encodeFunctionData({
        abi: mockUsdcAbi,
        functionName: 'approve',
        args: [chain.addresses.channels, 2n ** 128n],
      }),
    )
    return payer
  }

  voucher(maxClaimable: bigint, key: Hex = this.wallet.key): Voucher {
    const digest = this.#data.voucherDigest(this.channelId, maxClaimable)
    const signature = secp256k1.sign(digest, bytesOf(key))
    return { channelId: this.channelId, maxClaimable, signature }
  }

  deposit(units: bigint): Promise<void> {
    const args = [this.config, units, ZERO_ADDRESS, '0x'] as const
    return this.#call(encodeFunctionData({ abi: channelsAbi, functionName: 'deposit', args }))
  }

  /** Asks to leave with so many units. */
  exit(units: bigint): Promise<void> {
    const args = [this.config, units] as const
    const functionName = 'initiateWithdraw'
    return this.#call(encodeFunctionData({ abi: channelsAbi, functionName, args }))
  }

  /** Takes what was asked for, when the delay is over. */
  leave(): Promise<void> {
    const functionName = 'finalizeWithdraw'
    return this.#call(encodeFunctionData({ abi: channelsAbi, functionName, args: [this.config] }))
  }

  #call(data: ViemHex): Promise<void> {
    return this.#send(this.#chain.addresses.channels, data)
  }

  async #send(to: ViemHex, data: ViemHex): Promise<void> {
    const hash = await this.wallet.client.sendTransaction({ to, data })
    const receipt = await this.#chain.client.waitForTransactionReceipt({ hash })
    if (receipt.status !== 'success') throw new Error(`reverted: ${data.slice(0, 10)}`)
  }
}
