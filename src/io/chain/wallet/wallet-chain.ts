/** The chain as a payer sees it: what it has, what its channels hold. Reads only; `wallet-transaction.ts` sends. */
import {
  BaseError,
  createPublicClient,
  encodeAbiParameters,
  encodeFunctionData,
  erc20Abi,
  http,
  keccak256,
  parseAbi,
  toHex,
  type PublicClient,
} from 'viem'
import type { Address, Hex } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import type { ChannelConfig } from '../../../core/ledger/channel-config.ts'
import { channelsAbi } from '../abi/channels.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'

const TOKEN_ABI = [
  ...mockUsdcAbi,
  ...parseAbi(['function version() view returns (string)']),
] as const

/** Of a token's EIP-712 domain. */
export type TokenDomain = { readonly name: string; readonly version: string }

export type OnChain = {
  /** All deposited less what was returned; what was claimed included. */
  readonly balanceUnits: bigint
  readonly claimedUnits: bigint
  /** The exit that waits; null: none. */
  readonly exit: { readonly amountUnits: bigint; readonly finishAt: number } | null
}

export type PayerChain = {
  readonly rpcUrl: string
  readonly chainId: number
  readonly client: PublicClient
  hasCode(address: Address): Promise<boolean>
  /** Units of the token, and wei for gas. */
  balances(owner: Address, token: Address): Promise<{ tokenUnits: bigint; wei: bigint }>
  /** `withdrawDelay` in seconds. `depth`: as of so many blocks ago, that is final; 0: now. */
  channel(contract: Address, id: Hex, withdrawDelay: number, depth: number): Promise<OnChain>
  /** As the contract computes it. */
  channelId(contract: Address, config: ChannelConfig): Promise<Hex | null>
  allowance(token: Address, owner: Address, spender: Address): Promise<bigint>
  /** What its signed transfers (EIP-3009) are signed for; null: it takes none. */
  signedTransfers(token: Address, owner: Address): Promise<TokenDomain | null>
  /** Seconds since 1970, by the newest block: what the contract goes by. */
  now(): Promise<number>
}

/** Throws a Fault: `chain_unreachable`, or `chain_wrong` where another chain answers. */
export async function connectChain(
  rpcUrl: string,
  chainId: number,
  timeoutMs = 10_000,
): Promise<PayerChain> {
  const client = createPublicClient({
    transport: http(rpcUrl, { timeout: timeoutMs, retryCount: 2 }),
    cacheTime: 0,
  })
  const found = await reached(rpcUrl, async () => client.getChainId())
  if (found !== chainId)
    throw new Fault('chain_wrong', `${rpcUrl} is chain ${found}, not ${chainId}`)
  return payerChain(client, rpcUrl, chainId)
}

function payerChain(client: PublicClient, rpcUrl: string, chainId: number): PayerChain {
  const ask = async <T>(work: () => Promise<T>): Promise<T> => reached(rpcUrl, work)
  return {
    rpcUrl,
    chainId,
    client,
    hasCode: async (address) =>
      ask(async () => ((await client.getCode({ address })) ?? '0x') !== '0x'),
    balances: async (owner, token) =>
      ask(async () => {
        const of = {
          abi: erc20Abi,
          address: token,
          functionName: 'balanceOf',
          args: [owner],
        } as const
        const [tokenUnits, wei] = await Promise.all([
          client.readContract(of),
          client.getBalance({ address: owner }),
        ])
        return { tokenUnits, wei }
      }),
    channel: async (contract, id, withdrawDelay, depth) =>
      ask(async () => {
        const head = await client.getBlockNumber()
        const blockNumber = head > BigInt(depth) ? head - BigInt(depth) : 0n
        const at = { abi: channelsAbi, address: contract, args: [id], blockNumber } as const
        const [[balanceUnits, claimedUnits], [amountUnits, initiatedAt]] = await Promise.all([
          client.readContract({ ...at, functionName: 'channels' }),
          client.readContract({ ...at, functionName: 'pendingWithdrawals' }),
        ])
        const exit =
          initiatedAt === 0 ? null : { amountUnits, finishAt: initiatedAt + withdrawDelay }
        return { balanceUnits, claimedUnits, exit }
      }),
    channelId: async (contract, config) =>
      ask(async () => {
        const of = { abi: channelsAbi, address: contract, functionName: 'getChannelId' } as const
        return client.readContract({ ...of, args: [config] }).catch(orNull)
      }),
    allowance: async (token, owner, spender) =>
      ask(async () =>
        client.readContract({
          abi: erc20Abi,
          address: token,
          functionName: 'allowance',
          args: [owner, spender],
        }),
      ),
    signedTransfers: async (token, owner) => ask(async () => signedTransfers(client, token, owner)),
    now: async () => ask(async () => Number((await client.getBlock()).timestamp)),
  }
}

function orNull(error: unknown): null {
  if (isRevert(error)) return null
  throw error
}

/** As the token says it itself: by ERC-5267, or as USDC does. */
async function signedTransfers(
  client: PublicClient,
  address: Address,
  owner: Address,
): Promise<TokenDomain | null> {
  const of = { abi: TOKEN_ABI, address } as const
  const args = [owner, toHex(0, { size: 32 })] as const
  const state = { ...of, functionName: 'authorizationState', args } as const
  if ((await client.readContract(state).catch(orNull)) === null) return null
  const domain = await client.readContract({ ...of, functionName: 'eip712Domain' }).catch(orNull)
  if (domain !== null) return { name: domain[1], version: domain[2] }
  const [name, version] = await Promise.all([
    client.readContract({ ...of, functionName: 'name' }).catch(orNull),
    client.readContract({ ...of, functionName: 'version' }).catch(orNull),
  ])
  return name === null || version === null ? null : { name, version }
}

/** What the node of the chain cannot do is a fault of the world, in one line. */
export async function reached<T>(rpcUrl: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Fault) throw error
    const why = error instanceof BaseError ? error.shortMessage : String(error)
    const { host } = new URL(rpcUrl)
    throw new Fault('chain_unreachable', `the chain's node at ${host} did not answer: ${why}`, {
      cause: error,
      retryable: true,
    })
  }
}

/** The contract was there, and said no. */
export const isRevert = (error: unknown): boolean =>
  error instanceof BaseError &&
  error.walk(
    (one) =>
      one instanceof Error &&
      [
        'ContractFunctionRevertedError',
        'ContractFunctionZeroDataError',
        'ExecutionRevertedError',
      ].includes(one.name),
  ) !== null

type Call = { readonly to: Address; readonly data: Hex }

/** The wallet's own tokens, by an approval that comes before it. */
export const depositCall = (
  channels: Address,
  config: ChannelConfig,
  units: bigint,
  by: { readonly collector: Address; readonly data: Hex } | null,
): Call => ({
  to: channels,
  data: encodeFunctionData({
    abi: channelsAbi,
    functionName: 'deposit',
    args: [config, units, by?.collector ?? `0x${'0'.repeat(40)}`, by?.data ?? '0x'],
  }),
})

export const approveCall = (token: Address, spender: Address, units: bigint): Call => ({
  to: token,
  data: encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [spender, units] }),
})

export const exitCall = (channels: Address, config: ChannelConfig, units: bigint): Call => ({
  to: channels,
  data: encodeFunctionData({
    abi: channelsAbi,
    functionName: 'initiateWithdraw',
    args: [config, units],
  }),
})

export const finishCall = (channels: Address, config: ChannelConfig): Call => ({
  to: channels,
  data: encodeFunctionData({ abi: channelsAbi, functionName: 'finalizeWithdraw', args: [config] }),
})

/** What the payer signs for EIP-3009's collector; it is good for this channel only, and once. */
export function authorizationOf(of: {
  readonly chainId: number
  readonly token: { readonly address: Address; readonly name: string; readonly version: string }
  readonly payer: Address
  readonly collector: Address
  readonly units: bigint
  readonly channelId: Hex
  readonly salt: bigint
  readonly validBefore: bigint
}) {
  const nonce = keccak256(
    encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [of.channelId, of.salt]),
  )
  return {
    domain: {
      name: of.token.name,
      version: of.token.version,
      chainId: of.chainId,
      verifyingContract: of.token.address,
    },
    types: {
      ReceiveWithAuthorization: [
        { name: 'from', type: 'address' },
        { name: 'to', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'validAfter', type: 'uint256' },
        { name: 'validBefore', type: 'uint256' },
        { name: 'nonce', type: 'bytes32' },
      ],
    },
    primaryType: 'ReceiveWithAuthorization',
    message: {
      from: of.payer,
      to: of.collector,
      value: of.units,
      validAfter: 0n,
      validBefore: of.validBefore,
      nonce,
    },
  } as const
}

/** As the collector decodes it. */
export const collectorData = (validBefore: bigint, salt: bigint, signature: Hex): Hex =>
  encodeAbiParameters(
    [{ type: 'uint256' }, { type: 'uint256' }, { type: 'uint256' }, { type: 'bytes' }],
    [0n, validBefore, salt, signature],
  )
