/** Where the contracts are. */
import type { Address } from 'viem'
import { z } from 'zod'

export type ContractAddresses = {
  readonly token: Address
  readonly channels: Address
  /** Brings deposits into channels by EIP-3009. */
  readonly collector: Address
  readonly leases: Address
  readonly payouts: Address
  readonly stakes: Address
}

/**
 * The addresses that x402's clients of the scheme `batch-settlement` know by heart (@x402/evm 2.27, constants
 * BATCH_SETTLEMENT_ADDRESS and ERC3009_DEPOSIT_COLLECTOR_ADDRESS). On a local chain our contracts stand there.
 */
export const X402_CHANNELS: Address = '0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003'
export const X402_COLLECTOR: Address = '0x4020806089470a89826cB9fB1f4059150b550004'
const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .transform((text): Address => `0x${text.slice(2)}`)

/** As a file or the config has them. */
export const contractAddressesSchema = z.strictObject({
  token: address,
  channels: address,
  collector: address,
  leases: address,
  payouts: address,
  stakes: address,
})
