/**
 * The Merkle tree of a payout root, as contracts/src/interfaces/IPayouts.sol says: OpenZeppelin's standard tree over
 * `["address", "uint128"]`. Leaves are sorted by their hash, so the same leaves in any order give the same root.
 */
import { StandardMerkleTree } from '@openzeppelin/merkle-tree'
import type { Address, Hex } from '../../core/base/hex.ts'

/** Units of the token since the beginning. */
export type TreeLeaf = { readonly address: Address; readonly cumulativeUnits: bigint }

export type PayoutTree = {
  readonly root: Hex
  /** Null: the address has no leaf. */
  proof(
    address: Address,
  ): { readonly cumulativeUnits: bigint; readonly proof: readonly Hex[] } | null
}

const ENCODING = ['address', 'uint128']
const MAX_UINT128 = 2n ** 128n - 1n

/** Throws a RangeError for no leaves, an address that is there twice, or an amount that is no uint128: the caller's bug. */
export function payoutTree(leaves: readonly TreeLeaf[]): PayoutTree {
  if (leaves.length === 0) throw new RangeError('a payout tree needs a leaf')
  const indexes = new Map<string, number>()
  const rows = leaves.map(({ address, cumulativeUnits }, index): [string, string] => {
    if (cumulativeUnits < 0n || cumulativeUnits > MAX_UINT128)
      throw new RangeError(`${cumulativeUnits} units are no uint128`)
    if (indexes.has(address.toLowerCase())) throw new RangeError(`${address} has two leaves`)
    indexes.set(address.toLowerCase(), index)
    return [address.toLowerCase(), String(cumulativeUnits)]
  })
  const tree = StandardMerkleTree.of(rows, ENCODING)
  return {
    root: hex(tree.root),
    proof(address) {
      const index = indexes.get(address.toLowerCase())
      const leaf = index === undefined ? undefined : leaves[index]
      if (index === undefined || leaf === undefined) return null
      return { cumulativeUnits: leaf.cumulativeUnits, proof: tree.getProof(index).map(hex) }
    },
  }
}

/** Whether this leaf is in the tree of this root. False, not an error, for a proof that is malformed. */
export function verifyPayout(root: Hex, leaf: TreeLeaf, proof: readonly Hex[]): boolean {
  try {
    const { address, cumulativeUnits } = leaf
    return StandardMerkleTree.verify(root, ENCODING, [address, String(cumulativeUnits)], [...proof])
  } catch {
    return false
  }
}

const hex = (text: string): Hex => `0x${text.slice(2)}`
