/** A transaction of a provider's own: from a key in a private file, told before and after, and done when it is mined. */
import { readFileSync, statSync } from 'node:fs'
import {
  BaseError,
  ContractFunctionRevertedError,
  createWalletClient,
  decodeErrorResult,
  defineChain,
  http,
  isHex,
  type Hex,
  type PublicClient,
} from 'viem'
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { payoutsAbi } from '../../../io/chain/abi/payouts.ts'
import type { PayoutCall } from '../../../io/chain/payouts-contract.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { textOf, type Flags } from './command.ts'

/** Mined within it, or somebody has to look: fees have risen, or the node lost it. */
const MINED_WITHIN_MS = 180_000

/** Reads `--gas-key`. Throws Failure when there is none, or others may read it. */
export function gasAccount(flags: Flags): PrivateKeyAccount {
  const path = textOf(flags, 'gasKey')
  if (path === undefined)
    throw new Failure(EXIT.usage, 'a transaction needs a key that pays its gas', {
      code: 'gas_key_missing',
      next: 'give --gas-key <file>: 64 digits of hex, mode 0600. Any account with a little ether will do: the money goes to your payout address',
    })
  let text: string
  try {
    if ((statSync(path).mode & 0o077) !== 0)
      throw new Failure(EXIT.usage, `others may read ${path}`, {
        code: 'gas_key_open',
        next: `chmod 600 ${path}`,
      })
    text = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.usage, `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
  const key: Hex = `0x${text.replace(/^0x/, '')}`
  if (!isHex(key) || key.length !== 66)
    throw new Failure(EXIT.usage, `${path} holds no private key: 64 digits of hex`, {
      code: 'gas_key_invalid',
    })
  return privateKeyToAccount(key)
}

/** Resolves with the transaction's hash when it is mined. Throws Failure with the contract's reason when it would revert. */
export async function sendCall(
  { client, rpcUrl, chainId }: { client: PublicClient; rpcUrl: string; chainId: number },
  account: PrivateKeyAccount,
  { target: to, data }: PayoutCall,
): Promise<Hex> {
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  })
  const wallet = createWalletClient({ account, chain, transport: http(rpcUrl) })
  try {
    await client.call({ account: account.address, to, data })
    const hash = await wallet.sendTransaction({ to, data })
    const receipt = await client.waitForTransactionReceipt({ hash, timeout: MINED_WITHIN_MS })
    if (receipt.status === 'success') return hash
    throw new Failure(EXIT.failure, `the contract refused transaction ${hash}`, {
      code: 'transaction_failed',
    })
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.failure, `the transaction cannot be made: ${revertText(error)}`, {
      code: 'transaction_would_fail',
      cause: error,
    })
  }
}

/** The contract's error by name and values, else the first line of what viem says. */
function revertText(error: unknown): string {
  if (!(error instanceof BaseError)) return reasonOf(error)
  const reverted = error.walk((cause) => cause instanceof ContractFunctionRevertedError)
  if (reverted instanceof ContractFunctionRevertedError && reverted.data)
    return reverted.data.errorName
  const raw = error.walk((cause) => cause instanceof Error && 'data' in cause && isHex(cause.data))
  if (raw !== null && 'data' in raw && isHex(raw.data)) {
    try {
      const { errorName, args } = decodeErrorResult({ abi: payoutsAbi, data: raw.data })
      return `${errorName}(${(args ?? []).map(String).join(', ')})`
    } catch {
      // Another contract's error, or no data: the words of viem are all there is.
    }
  }
  return error.shortMessage
}
