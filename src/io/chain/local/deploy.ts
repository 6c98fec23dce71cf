/**
 * The contracts on a chain of one's own. Each is deployed by the CREATE2 deployer that every chain has, so its address
 * follows from its bytecode and arguments: whatever is there already stays, and a crash half-way is gone on from.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  concatHex,
  encodeDeployData,
  encodeFunctionData,
  getCreate2Address,
  pad,
  parseEther,
  toHex,
  zeroHash,
  type Address,
  type Hex,
} from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { z } from 'zod'
import { Fault } from '../../../core/base/refusal.ts'
import { channelsAbi, channelsBytecode } from '../abi/channels.ts'
import { eip3009CollectorAbi, eip3009CollectorBytecode } from '../abi/eip3009-collector.ts'
import { leasesAbi, leasesBytecode } from '../abi/leases.ts'
import { mockUsdcAbi, mockUsdcBytecode } from '../abi/mock-usdc.ts'
import { payoutsAbi, payoutsBytecode } from '../abi/payouts.ts'
import { stakesAbi, stakesBytecode } from '../abi/stakes.ts'
import { X402_CHANNELS, X402_COLLECTOR, type ContractAddresses } from '../addresses.ts'

/** https://github.com/Arachnid/deterministic-deployment-proxy */
const CREATE2_DEPLOYER: Address = '0x4e59b44847b379578588920cA78FbF26c0B4956C'
const HOUR_S = 3600
const USDC = 10n ** 6n
/** OpenZeppelin's Ownable and Pausable and what follows: Channels' own mappings hold nothing below. */
const COPIED_SLOTS = 4
const DEPLOY_GAS = 8_000_000n

export type DevelopmentChain = {
  /** A JSON-RPC call to an anvil, whose state can be set. */
  readonly rpc: (method: string, params?: readonly unknown[]) => Promise<unknown>
  /** Has what was sent mined: a no-op where every transaction is mined at once. */
  readonly mine: () => Promise<void>
}

export type Deployment = {
  /** Pays, and may pause deposits. */
  readonly guardian: PrivateKeyAccount
  /** At least three. */
  readonly auditors: readonly Address[]
}

/** Deploys whatever is not there yet. Repeating it changes nothing. */
export async function deployContracts(
  chain: DevelopmentChain,
  { guardian, auditors }: Deployment,
): Promise<ContractAddresses> {
  await topUp(chain, guardian.address, parseEther('1000'))
  const put = (code: Hex): Promise<Address> => deploy(chain, guardian, code)
  const token = await put(encodeDeployData({ abi: mockUsdcAbi, bytecode: mockUsdcBytecode }))
  const args = [token, guardian.address] as const
  const channels = await put(
    encodeDeployData({ abi: channelsAbi, bytecode: channelsBytecode, args }),
  )
  await copyContract(chain, channels, X402_CHANNELS)
  const collector = await put(
    encodeDeployData({
      abi: eip3009CollectorAbi,
      bytecode: eip3009CollectorBytecode,
      args: [X402_CHANNELS],
    }),
  )
  await copyContract(chain, collector, X402_COLLECTOR)
  return {
    token,
    channels: X402_CHANNELS,
    collector: X402_COLLECTOR,
    leases: await put(encodeDeployData({ abi: leasesAbi, bytecode: leasesBytecode, args })),
    payouts: await put(
      encodeDeployData({
        abi: payoutsAbi,
        bytecode: payoutsBytecode,
        args: [...args, PAYOUT_TERMS],
      }),
    ),
    stakes: await put(
      encodeDeployData({
        abi: stakesAbi,
        bytecode: stakesBytecode,
        args: [...args, { ...STAKE_TERMS, pool: guardian.address }, [...auditors]],
      }),
    ),
  }
}

/** The shortest times that the contract allows: a local chain is for trying things. */
const PAYOUT_TERMS = {
  challengeWindow: HOUR_S,
  answerWindow: HOUR_S,
  withdrawDelay: 3 * HOUR_S,
  minBond: 100n * USDC,
  penalty: 100n * USDC,
  challengeDeposit: 10n * USDC,
}

const STAKE_TERMS = {
  auditLatency: HOUR_S,
  appealWindow: HOUR_S,
  confirmWindow: HOUR_S,
  unbonding: 4 * HOUR_S,
  evidenceBps: 5_000,
  findingCapBps: 2_000,
  reporterBps: 1_000,
  quorum: 2,
  appealQuorum: 3,
}

/** Test dollars, as many as wanted: `units` of six decimals. */
export async function mintTestMoney(
  chain: DevelopmentChain,
  from: PrivateKeyAccount,
  of: { readonly token: Address; readonly to: Address; readonly units: bigint },
): Promise<void> {
  const data = encodeFunctionData({
    abi: mockUsdcAbi,
    functionName: 'mint',
    args: [of.to, of.units],
  })
  await send(chain, from, of.token, data)
}

async function deploy(
  chain: DevelopmentChain,
  from: PrivateKeyAccount,
  bytecode: Hex,
): Promise<Address> {
  const address = getCreate2Address({ from: CREATE2_DEPLOYER, salt: zeroHash, bytecode })
  if ((await codeOf(chain, address)) !== '0x') return address
  await send(chain, from, CREATE2_DEPLOYER, concatHex([zeroHash, bytecode]))
  if ((await codeOf(chain, address)) !== '0x') return address
  throw new Fault('deploy_failed', `No contract came to be at ${address}. Start the chain anew.`)
}

/** Code brings its immutables along; the owner and the pause are in storage. Written first, so that code means it is whole. */
async function copyContract(chain: DevelopmentChain, from: Address, to: Address): Promise<void> {
  const code = await codeOf(chain, from)
  if ((await codeOf(chain, to)) === code) return
  for (let slot = 0; slot < COPIED_SLOTS; slot++) {
    const value = await chain.rpc('eth_getStorageAt', [from, toHex(slot), 'latest'])
    await chain.rpc('anvil_setStorageAt', [to, pad(toHex(slot)), value])
  }
  await chain.rpc('anvil_setCode', [to, code])
}

/** Gives it at least so much, wei; whether anything was missing. */
export async function topUp(chain: DevelopmentChain, to: Address, wei: bigint): Promise<boolean> {
  const has = BigInt(hex(await chain.rpc('eth_getBalance', [to, 'latest'])))
  if (has >= wei) return false
  await chain.rpc('anvil_setBalance', [to, toHex(wei)])
  return true
}

/** Resolves when it is mined; throws when it reverted. */
async function send(
  chain: DevelopmentChain,
  from: PrivateKeyAccount,
  to: Address,
  data: Hex,
): Promise<void> {
  const nonce = Number(hex(await chain.rpc('eth_getTransactionCount', [from.address, 'latest'])))
  const block = z
    .object({ baseFeePerGas: z.string() })
    .parse(await chain.rpc('eth_getBlockByNumber', ['latest', false]))
  const raw = await from.signTransaction({
    type: 'eip1559',
    chainId: Number(hex(await chain.rpc('eth_chainId'))),
    nonce,
    to,
    data,
    gas: DEPLOY_GAS,
    maxFeePerGas: 2n * BigInt(block.baseFeePerGas) + PRIORITY_FEE,
    maxPriorityFeePerGas: PRIORITY_FEE,
  })
  const hash = await chain.rpc('eth_sendRawTransaction', [raw])
  await chain.mine()
  // Mining "at once" is a moment after sending.
  for (const deadline = performance.now() + MINED_TIMEOUT_MS; performance.now() < deadline;) {
    const receipt = receiptSchema.parse(await chain.rpc('eth_getTransactionReceipt', [hash]))
    if (receipt?.status === '0x1') return
    if (receipt)
      throw new Fault('deploy_failed', `The transaction ${String(hash)} to ${to} failed.`)
    await sleep(LOOK_EVERY_MS)
  }
  throw new Fault('deploy_failed', `The transaction ${String(hash)} to ${to} was not mined.`)
}

const receiptSchema = z.object({ status: z.string() }).nullable()
const MINED_TIMEOUT_MS = 20_000
const LOOK_EVERY_MS = 5

const PRIORITY_FEE = 10n ** 9n

const codeOf = async (chain: DevelopmentChain, address: Address): Promise<Hex> =>
  hex(await chain.rpc('eth_getCode', [address, 'latest']))

function hex(value: unknown): Hex {
  if (typeof value === 'string' && value.startsWith('0x')) return `0x${value.slice(2)}`
  throw new Fault('anvil_failed', `The local chain answered ${String(value)} instead of hex.`)
}
