/** Test money for whoever asks, on a local chain: anvil lets anybody speak for any address, and anybody may make test dollars. */
import { encodeFunctionData, isHex, parseEther, toHex } from 'viem'
import { z } from 'zod'
import type { Address } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import type { PayerChain } from '../wallet/wallet-chain.ts'

/** Anvil's and Hardhat's: whatever is there is worth nothing. */
export const LOCAL_CHAIN_ID = 31_337
const ETHER = '10'
const MINED_TIMEOUT_MS = 30_000

/**
 * Sets its ether to 10 and adds `units` of test dollars; resolves when they are there. Throws a Fault `faucet_dry` on any other than
 * a local chain.
 */
export async function giveTestMoney(
  chain: PayerChain,
  of: { readonly token: Address; readonly to: Address; readonly units: bigint },
): Promise<void> {
  if (chain.chainId !== LOCAL_CHAIN_ID)
    throw new Fault(
      'faucet_dry',
      `Chain ${chain.chainId} is no local chain: nobody gives money there. Send some to ${of.to}.`,
    )
  const rpc = (method: string, params: readonly unknown[]): Promise<unknown> =>
    call(chain.rpcUrl, method, params)
  await rpc('anvil_setBalance', [of.to, toHex(parseEther(ETHER))])
  const data = encodeFunctionData({
    abi: mockUsdcAbi,
    functionName: 'mint',
    args: [of.to, of.units],
  })
  await rpc('anvil_impersonateAccount', [of.to])
  try {
    const hash = await rpc('eth_sendTransaction', [{ from: of.to, to: of.token, data }])
    if (!isHex(hash)) throw new Fault('faucet_dry', 'The chain took no transaction for test money.')
    const receipt = await chain.client.waitForTransactionReceipt({
      hash,
      timeout: MINED_TIMEOUT_MS,
      pollingInterval: 100,
    })
    if (receipt.status !== 'success')
      throw new Fault('faucet_dry', `The token ${of.token} makes no test money.`)
  } finally {
    await rpc('anvil_stopImpersonatingAccount', [of.to])
  }
}

const answer = z.object({
  result: z.unknown().optional(),
  error: z.object({ message: z.string() }).optional(),
})

async function call(url: string, method: string, params: readonly unknown[]): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(MINED_TIMEOUT_MS),
  })
  const { result, error } = answer.parse(await response.json())
  if (error) throw new Fault('faucet_dry', `The chain gives no test money: ${error.message}`)
  return result
}
