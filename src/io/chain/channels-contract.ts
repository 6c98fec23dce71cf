/** What is read of the contract Channels, and what is written to it. Many channels are read in one call, at one block. */
import {
  decodeFunctionResult,
  encodeFunctionData,
  parseAbi,
  type BlockTag,
  type PublicClient,
} from 'viem'
import { hexOf, isHex, lowerHex, type Address, type Hex } from '../../core/base/hex.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { ChannelConfig } from '../../core/ledger/channel-config.ts'
import { channelsAbi } from './abi/channels.ts'

/** What the contract keeps of a channel. Amounts in units of the token. */
export type ChannelState = {
  readonly balanceUnits: bigint
  readonly claimedUnits: bigint
  /** Seconds since 1970 when its payer asked to leave; null: nobody did. */
  readonly exitAskedAt: number | null
}

export type AtBlock = { readonly blockHash: Hex } | { readonly blockTag: BlockTag }

export type ClaimRow = {
  readonly config: ChannelConfig
  readonly maxClaimable: bigint
  readonly signature: Uint8Array | Hex
  readonly totalClaimed: bigint
}

/** Two views a channel in one call: far below what a node lets a call cost. */
const CHANNELS_PER_CALL = 100
/** Not every Channels of x402's scheme has `multicall`, but ours and the published one do. */
const MULTICALL = parseAbi(['function multicall(bytes[] data) returns (bytes[] results)'])

/** In the order of `ids`. A block that is gone is a retryable Fault `chain_unavailable`, as is a server that does not answer. */
export async function readChannels(
  client: PublicClient,
  contract: Address,
  ids: readonly Hex[],
  at: AtBlock,
): Promise<ChannelState[]> {
  const states: ChannelState[] = []
  for (let start = 0; start < ids.length; start += CHANNELS_PER_CALL)
    states.push(
      ...(await readSome(client, contract, ids.slice(start, start + CHANNELS_PER_CALL), at)),
    )
  return states
}

async function readSome(
  client: PublicClient,
  contract: Address,
  ids: readonly Hex[],
  at: AtBlock,
): Promise<ChannelState[]> {
  const calls = ids.flatMap((id) => [
    encodeFunctionData({ abi: channelsAbi, functionName: 'channels', args: [id] }),
    encodeFunctionData({ abi: channelsAbi, functionName: 'pendingWithdrawals', args: [id] }),
  ])
  const data = encodeFunctionData({ abi: MULTICALL, functionName: 'multicall', args: [calls] })
  const answer = await asking(() =>
    'blockHash' in at
      ? client.call({ to: contract, data, blockHash: at.blockHash, requireCanonical: true })
      : client.call({ to: contract, data, blockTag: at.blockTag }),
  )
  if (answer.data === undefined)
    throw new Fault('chain_unavailable', `There is no contract at ${contract}.`, {
      retryable: true,
    })
  const results = decodeFunctionResult({
    abi: MULTICALL,
    functionName: 'multicall',
    data: answer.data,
  })
  return ids.map((_, index) => {
    const [balanceUnits, claimedUnits] = decodeFunctionResult({
      abi: channelsAbi,
      functionName: 'channels',
      data: results[2 * index] ?? '0x',
    })
    const [, initiatedAt] = decodeFunctionResult({
      abi: channelsAbi,
      functionName: 'pendingWithdrawals',
      data: results[2 * index + 1] ?? '0x',
    })
    return { balanceUnits, claimedUnits, exitAskedAt: initiatedAt === 0 ? null : initiatedAt }
  })
}

/** The channels that anything happened to in these blocks. Ids of other things may be among them. */
export async function touchedChannels(
  client: PublicClient,
  contract: Address,
  fromBlock: bigint,
  toBlock: bigint | 'latest',
): Promise<ReadonlySet<Hex>> {
  const logs = await asking(() => client.getLogs({ address: contract, fromBlock, toBlock }))
  // Every event of a channel has its id as the first indexed argument.
  return new Set(logs.flatMap(({ topics }) => (isHex(topics[1], 32) ? [lowerHex(topics[1])] : [])))
}

async function asking<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (cause) {
    throw new Fault('chain_unavailable', 'The chain did not answer.', { cause, retryable: true })
  }
}

/** Data of `claim`, for the channels' receiver to send. */
export const claimData = (rows: readonly ClaimRow[]): Hex =>
  encodeFunctionData({
    abi: channelsAbi,
    functionName: 'claim',
    args: [
      rows.map(({ config, maxClaimable, signature, totalClaimed }) => ({
        voucher: { channel: config, maxClaimableAmount: maxClaimable },
        signature: typeof signature === 'string' ? signature : hexOf(signature),
        totalClaimed,
      })),
    ],
  })

export const settleData = (receiver: Address, token: Address): Hex =>
  encodeFunctionData({ abi: channelsAbi, functionName: 'settle', args: [receiver, token] })

/** Data of `refund`, for the channel's receiver to send. */
export const refundData = (config: ChannelConfig, units: bigint): Hex =>
  encodeFunctionData({ abi: channelsAbi, functionName: 'refund', args: [config, units] })
