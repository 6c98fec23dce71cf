/**
 * x402's own facilitator for the scheme `exact`, over this gateway's chain: it checks and simulates, and what it sends goes through
 * the outbox, so that nonces, fees and restarts are the sender's business. For slow paths only.
 */
import { ExactEvmScheme } from '@x402/evm/exact/facilitator'
import { encodeFunctionData, getAddress, recoverTypedDataAddress, type PublicClient } from 'viem'
import { z } from 'zod'
import { isHex, lowerHex, type Hex } from '../../../core/base/hex.ts'
import { carryOut, type ActionParts } from './on-chain.ts'
import { AUTHORIZATION_FIELDS } from './authorization-fields.ts'
import type { X402Terms } from './terms.ts'

export type ExactParts = {
  readonly terms: X402Terms
  readonly client: PublicClient
  readonly actions: ActionParts
}

const hex = (bytes: number) => z.custom<Hex>((value) => isHex(value, bytes))
const transfer = z.object({
  from: hex(20),
  to: hex(20),
  value: z.bigint(),
  validAfter: z.bigint(),
  validBefore: z.bigint(),
  nonce: hex(32),
})
const TRANSFER_WITH_AUTHORIZATION = { TransferWithAuthorization: AUTHORIZATION_FIELDS }

/** Names the authorization: whoever brings it, and however often. */
export const exactPurpose = (from: Hex, nonce: Hex): string => `x402-exact:${from}:${nonce}`
export const EXACT_KIND = 'x402-exact'

/** `details` are kept with the transaction that it sends: who is to be credited. */
export function exactScheme({ terms, client, actions }: ExactParts, details: unknown) {
  return new ExactEvmScheme({
    getAddresses: () => [terms.operator],
    readContract: (args) => client.readContract(args),
    // Keys only, and of this token's domain, whatever the caller says it is.
    async verifyTypedData({ address, primaryType, message, signature }) {
      const authorization = transfer.safeParse(message)
      if (primaryType !== 'TransferWithAuthorization' || !authorization.success) return false
      const signer = await recoverTypedDataAddress({
        domain: {
          name: terms.token.name,
          version: terms.token.version,
          chainId: terms.chainId,
          verifyingContract: getAddress(terms.token.address),
        },
        types: TRANSFER_WITH_AUTHORIZATION,
        primaryType,
        message: authorization.data,
        signature,
      }).catch(() => null)
      return signer !== null && lowerHex(signer) === lowerHex(address)
    },
    getCode: (args) => client.getCode(args),
    async writeContract({ address, abi, functionName, args }) {
      const [from, , , , , nonce] = args
      if (functionName !== 'transferWithAuthorization' || !isHex(from, 20) || !isHex(nonce, 32))
        throw new Error(`not sent: ${functionName} is no transfer by authorization`)
      if (lowerHex(address) !== terms.token.address)
        throw new Error(`not sent: ${address} is not the token`)
      const action = await carryOut(
        actions,
        {
          purpose: exactPurpose(lowerHex(from), lowerHex(nonce)),
          kind: EXACT_KIND,
          target: terms.token.address,
          data: encodeFunctionData({ abi, functionName, args }),
          details,
        },
        terms.maxTimeoutS * 1000,
      )
      if (action.mined === null) throw new Error('sent, and in no block yet')
      return action.mined.hash
    },
    // It deploys no wallets for strangers.
    sendTransaction: () => Promise.reject(new Error('not sent: only transfers are')),
    waitForTransactionReceipt: ({ hash }) =>
      client.waitForTransactionReceipt({ hash, pollingInterval: 50 }),
  })
}
