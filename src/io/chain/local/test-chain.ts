/** A chain for tests: an anvil of the test's own with our contracts on it, which were deployed once in this process. */
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import {
  createPublicClient,
  createWalletClient,
  defineChain,
  http,
  parseEther,
  toHex,
  type Account,
  type Address,
  type Chain as ViemChain,
  type Hex,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts'
import { startAnvil, type Anvil } from './anvil.ts'
import type { ContractAddresses } from '../addresses.ts'
import { deployContracts, mintTestMoney, topUp, type DevelopmentChain } from './deploy.ts'

export type TestWallet = {
  readonly key: Hex
  readonly address: Address
  readonly account: PrivateKeyAccount
  /** Signs and sends; each transaction is mined at once, unless `mining` is off. */
  readonly client: WalletClient<Transport, ViemChain, Account>
}

export type TestChain = DevelopmentChain & {
  readonly url: string
  readonly chainId: number
  readonly addresses: ContractAddresses
  readonly client: PublicClient
  /** May pause deposits. */
  readonly guardian: TestWallet
  /** Of Stakes: three. */
  readonly auditors: readonly TestWallet[]
  /** Sets its ether, and adds units of test dollars. */
  fund(address: Address, ether: string, units?: bigint): Promise<void>
  /** Makes empty blocks, or mines what waits. */
  readonly mine: (blocks?: number) => Promise<void>
  /** Whether each transaction is mined at once, as it is at the beginning. */
  mining(on: boolean): Promise<void>
  /** Moves the chain's clock on, and mines a block. */
  pass(seconds: number): Promise<void>
  /** The last blocks are replaced by as many empty ones; their transactions are gone. */
  reorganise(depth: number): Promise<void>
  /** A fresh key with money. */
  wallet(ether?: string, units?: bigint): Promise<TestWallet>
  /** Ends the chain's process at once. */
  stop(): Promise<void>
}

type Deployed = {
  readonly state: unknown
  readonly addresses: ContractAddresses
  readonly guardian: PrivateKeyAccount & { key: Hex }
  readonly auditors: readonly Hex[]
}

let deployed: Promise<Deployed> | null = null

/** 31337 is told to be test money; another id is as good. Ends with the test. */
export async function testChain(
  t: TestContext,
  options: { readonly args?: readonly string[]; readonly port?: number } = {},
): Promise<TestChain> {
  deployed ??= deployOnce()
  const { state, addresses, guardian, auditors } = await deployed
  const anvil = await startAnvil(options)
  t.after(() => anvil.stop())
  await anvil.rpc('anvil_loadState', [state])
  // So that no reorganisation reaches the deployment.
  await anvil.rpc('anvil_mine', [toHex(BLOCKS_ABOVE)])
  return chainOn(anvil, { addresses, guardian: guardian.key, auditors })
}

async function deployOnce(): Promise<Deployed> {
  const anvil = await startAnvil()
  try {
    const key = newKey()
    const guardian = Object.assign(privateKeyToAccount(key), { key })
    const auditors = [newKey(), newKey(), newKey()]
    const chain = { rpc: anvil.rpc, mine: async () => {} }
    const addresses = await deployContracts(chain, {
      guardian,
      auditors: auditors.map((auditor) => privateKeyToAccount(auditor).address),
    })
    return { state: await anvil.rpc('anvil_dumpState', [true]), addresses, guardian, auditors }
  } finally {
    await anvil.stop()
  }
}

async function chainOn(
  anvil: Anvil,
  of: { addresses: ContractAddresses; guardian: Hex; auditors: readonly Hex[] },
): Promise<TestChain> {
  const { url, rpc } = anvil
  const chain = defineChain({
    id: 31_337,
    name: 'test',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  })
  const transport = http(url, { retryCount: 0 })
  const client = createPublicClient({ chain, transport, pollingInterval: 20, cacheTime: 0 })
  const walletOf = (key: Hex): TestWallet => {
    const account = privateKeyToAccount(key)
    const wallet = createWalletClient({ account, chain, transport })
    return { key, address: account.address, account, client: wallet }
  }
  const mine = async (blocks = 1): Promise<void> => {
    await rpc('anvil_mine', [toHex(blocks)])
  }
  const guardian = walletOf(of.guardian)
  const auditors = of.auditors.map(walletOf)
  for (const { address } of [guardian, ...auditors]) await topUp(anvilChain(anvil), address, TEN)
  const fund: TestChain['fund'] = async (address, ether, units = 0n) => {
    await rpc('anvil_setBalance', [address, toHex(parseEther(ether))])
    if (units > 0n)
      await mintTestMoney({ rpc, mine: async () => mineWhatWaits(anvil) }, guardian.account, {
        token: of.addresses.token,
        to: address,
        units,
      })
  }
  return {
    url,
    rpc,
    chainId: chain.id,
    addresses: of.addresses,
    client,
    guardian,
    auditors,
    fund,
    mine,
    async mining(on) {
      await rpc('evm_setAutomine', [on])
    },
    async pass(seconds) {
      await rpc('evm_increaseTime', [seconds])
      await mine()
    },
    async reorganise(depth) {
      await rpc('anvil_reorg', [depth, []])
    },
    async wallet(ether = '10', units = 0n) {
      const wallet = walletOf(newKey())
      await fund(wallet.address, ether, units)
      return wallet
    },
    stop: () => anvil.stop(),
  }
}

const BLOCKS_ABOVE = 16
const TEN = parseEther('10')
const newKey = (): Hex => toHex(randomBytes(32))
const anvilChain = ({ rpc }: Anvil): DevelopmentChain => ({ rpc, mine: async () => {} })

async function mineWhatWaits({ rpc }: Anvil): Promise<void> {
  if ((await rpc('anvil_getAutomine')) === false) await rpc('anvil_mine', ['0x1'])
}
