/** What the sender asks of the chain. */
import { toHex, type Address, type Hex } from 'viem'
import { z } from 'zod'
import { Fault } from '../../../core/base/refusal.ts'
import type { MinedAt } from '../../store/chain-records.ts'
import type { ChainRpc } from './rpc.ts'
import { revertReason } from './revert-reason.ts'

const hex = z.custom<Hex>((value) => typeof value === 'string' && /^0x[0-9a-f]*$/i.test(value))
const quantity = hex.transform((text) => BigInt(text))

/** Garbage from a server makes us wait, as silence does. */
async function ask<T>(
  rpc: ChainRpc,
  shape: z.ZodType<T>,
  method: string,
  params: readonly unknown[] = [],
): Promise<T> {
  const answer = shape.safeParse(await rpc.request({ method, params }))
  if (answer.success) return answer.data
  throw new Fault('chain_unavailable', `An RPC server answered ${method} with something else`, {
    retryable: true,
  })
}

/** How many transactions of this sender the chain has up to this block: the next nonce. */
export const countAt = async (rpc: ChainRpc, sender: Address, block: bigint): Promise<number> =>
  Number(await ask(rpc, quantity, 'eth_getTransactionCount', [sender, toHex(block)]))

const blockSchema = z.object({ hash: hex, baseFeePerGas: quantity.optional() }).nullable()

/** Null: there is no such block now. */
export const hashAt = async (rpc: ChainRpc, block: bigint): Promise<Hex | null> =>
  (await ask(rpc, blockSchema, 'eth_getBlockByNumber', [toHex(block), false]))?.hash ?? null

const receiptSchema = z
  .object({ transactionHash: hex, blockHash: hex, blockNumber: quantity, status: hex })
  .nullable()

/** Null: it is in no block that is on the chain now. */
export async function minedAt(rpc: ChainRpc, hash: Hex): Promise<MinedAt | null> {
  const receipt = await ask(rpc, receiptSchema, 'eth_getTransactionReceipt', [hash])
  if (receipt === null || receipt.transactionHash !== hash) return null
  const { blockHash, blockNumber, status } = receipt
  if ((await hashAt(rpc, blockNumber)) !== blockHash) return null
  return { hash, blockHash, blockNumber, reverted: BigInt(status) === 0n }
}

export type Prices = { readonly baseFeeWei: bigint; readonly tipWei: bigint }

export async function pricesAt(rpc: ChainRpc, block: bigint): Promise<Prices> {
  const there = await ask(rpc, blockSchema, 'eth_getBlockByNumber', [toHex(block), false])
  const tipWei = await ask(rpc, quantity, 'eth_maxPriorityFeePerGas')
  return { baseFeeWei: there?.baseFeePerGas ?? 0n, tipWei }
}

type Sent = { readonly from: Address; readonly to: Address; readonly data: Hex }

/** Gas it takes after all that is on its way, or why the contract refuses it. */
export async function estimate(
  rpc: ChainRpc,
  transaction: Sent,
): Promise<{ readonly gas: bigint } | { readonly refused: string }> {
  try {
    return { gas: await ask(rpc, quantity, 'eth_estimateGas', [transaction, 'pending']) }
  } catch (error) {
    const refused = revertReason(error)
    if (refused !== null) return { refused }
    throw error
  }
}

/** Why a mined transaction reverted, as far as repeating it on the block before tells. */
export async function whyReverted(
  rpc: ChainRpc,
  transaction: Sent,
  block: bigint,
): Promise<string> {
  try {
    const result = await ask(rpc, hex, 'eth_call', [transaction, toHex(block - 1n)])
    return `reverted, though it would pass on the block before (it gave ${result.slice(0, 66)})`
  } catch (error) {
    return revertReason(error) ?? 'reverted; the reason cannot be found out any more'
  }
}

const transactionsSchema = z
  .object({ transactions: z.array(z.object({ hash: hex, from: hex, nonce: quantity })) })
  .nullable()

/** The transaction with this nonce in the blocks from `first` to `last`; null: none of them has it. */
export async function usedBy(
  rpc: ChainRpc,
  of: { readonly sender: Address; readonly nonce: number },
  first: bigint,
  last: bigint,
): Promise<Hex | null> {
  for (let number = first; number <= last; number++) {
    const block = await ask(rpc, transactionsSchema, 'eth_getBlockByNumber', [toHex(number), true])
    const found = block?.transactions.find(
      ({ from, nonce }) =>
        from.toLowerCase() === of.sender.toLowerCase() && nonce === BigInt(of.nonce),
    )
    if (found) return found.hash
  }
  return null
}
