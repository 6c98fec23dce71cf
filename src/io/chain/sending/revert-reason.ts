/** What a contract says when it refuses: the custom error by its name, with its values. */
import { decodeErrorResult, RpcRequestError, type Abi, type Hex } from 'viem'
import { z } from 'zod'
import { channelsAbi } from '../abi/channels.ts'
import { eip3009CollectorAbi } from '../abi/eip3009-collector.ts'
import { leasesAbi } from '../abi/leases.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import { payoutsAbi } from '../abi/payouts.ts'
import { stakesAbi } from '../abi/stakes.ts'

/** The selector tells them apart: the same error in two contracts is the same text. */
const errors: Abi = [
  ...channelsAbi,
  ...eip3009CollectorAbi,
  ...leasesAbi,
  ...mockUsdcAbi,
  ...payoutsAbi,
  ...stakesAbi,
].filter(({ type }) => type === 'error')

/** `ClaimAboveBalance(0x…, 7, 5)`; the plain message where no data came. Null: this is no refusal of a contract. */
export function revertReason(error: unknown): string | null {
  if (!(error instanceof RpcRequestError)) return null
  const data = dataOf(error.data)
  if (data !== null) return decodeRevert(data)
  return error.code === 3 || /revert/i.test(error.details) ? error.details : null
}

function decodeRevert(data: Hex): string {
  if (data === '0x') return 'reverted without a reason'
  try {
    const { errorName, args = [] } = decodeErrorResult({ abi: errors, data })
    return `${errorName}(${args.map(plain).join(', ')})`
  } catch {
    return `reverted with ${data.slice(0, 138)}`
  }
}

const plain = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : (JSON.stringify(value, (_, inner: unknown) =>
        typeof inner === 'bigint' ? inner.toString() : inner,
      )?.replace(/^"(\d+)"$/, '$1') ?? '')

const hexData = z.string().regex(/^0x([0-9a-f]{2})*$/i)

/** Some servers wrap it once more. */
function dataOf(data: unknown): Hex | null {
  const text = hexData.safeParse(
    typeof data === 'object' && data !== null && 'data' in data ? data.data : data,
  )
  return text.success ? `0x${text.data.slice(2)}` : null
}
