/** What is asked of a contract, unsigned: for a gateway's outbox (`writeAction`), or for a wallet to send. */
import { encodeFunctionData, erc20Abi, type Address, type Hex } from 'viem'

export type ContractCall = { readonly target: Address; readonly data: Hex }

/** Lets `spender` take so many units of the caller's token: before a bond, a budget or a deposit. */
export function approvalCall(token: Address, spender: Address, units: bigint): ContractCall {
  const args = [spender, units] as const
  return {
    target: token,
    data: encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args }),
  }
}
