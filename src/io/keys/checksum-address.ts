/** EIP-55: an address whose capitals are its checksum, so that a slip of the finger is seen before money goes there. */
import { hexOf, lowerHex, type Address } from '../../core/base/hex.ts'
import { keccak256 } from './secp256k1.ts'

/** As wallets show it. https://eips.ethereum.org/EIPS/eip-55; viem's takes a quarter of a second to load, in each node. */
export function checksumAddress(address: Address): string {
  const digits = lowerHex(address).slice(2)
  const hash = hexOf(keccak256(new TextEncoder().encode(digits))).slice(2)
  return `0x${digits.replace(/[a-f]/g, (digit, at: number) => ((hash[at] ?? '0') >= '8' ? digit.toUpperCase() : digit))}`
}
