/**
 * Merkle trees as RFC 6962 section 2.1 defines them: leaf = H(0x00 ‖ data), node = H(0x01 ‖ left ‖ right).
 * The hash function is the caller's: the core has no crypto of its own.
 */
export type Hash = (bytes: Uint8Array) => Uint8Array

export function leafHash(data: Uint8Array, hash: Hash): Uint8Array {
  const bytes = new Uint8Array(1 + data.length)
  bytes.set(data, 1)
  return hash(bytes)
}

function nodeHash(left: Uint8Array, right: Uint8Array, hash: Hash): Uint8Array {
  const bytes = new Uint8Array(1 + left.length + right.length)
  bytes[0] = 1
  bytes.set(left, 1)
  bytes.set(right, 1 + left.length)
  return hash(bytes)
}

/** The largest power of two below `n`: where RFC 6962 splits a list. */
function splitAt(n: number): number {
  let power = 1
  while (power * 2 < n) power *= 2
  return power
}

/** Root over leaf hashes. Throws on an empty list: a batch of nothing is never signed. */
export function merkleRoot(leaves: readonly Uint8Array[], hash: Hash): Uint8Array {
  if (leaves.length === 0) throw new RangeError('no leaves')
  // Level by level: where one is left over it rises as it is, which is the same tree as splitting at powers of two.
  let level = leaves
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i], level[i + 1]]
      if (left) above.push(right ? nodeHash(left, right, hash) : left)
    }
    level = above
  }
  const [root] = level
  if (!root) throw new RangeError('no leaves')
  return root
}

/** The sibling hashes from the leaf up: RFC 6962 section 2.1.1. */
export function merklePath(index: number, leaves: readonly Uint8Array[], hash: Hash): Uint8Array[] {
  if (index < 0 || index >= leaves.length) throw new RangeError(`leaf ${index} of ${leaves.length}`)
  if (leaves.length === 1) return []
  const k = splitAt(leaves.length)
  return index < k
    ? [...merklePath(index, leaves.slice(0, k), hash), merkleRoot(leaves.slice(k), hash)]
    : [...merklePath(index - k, leaves.slice(k), hash), merkleRoot(leaves.slice(0, k), hash)]
}

/** The root that a leaf and its path lead to, or null when the path cannot belong to such a tree. RFC 9162 section 2.1.3.2. */
export function rootFromPath(
  input: { leaf: Uint8Array; index: number; size: number; path: readonly Uint8Array[] },
  hash: Hash,
): Uint8Array | null {
  let fn = input.index
  let sn = input.size - 1
  if (fn > sn) return null
  let root = input.leaf
  for (const sibling of input.path) {
    if (sn === 0) return null
    if (fn % 2 === 1 || fn === sn) {
      root = nodeHash(sibling, root, hash)
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2)
        sn = Math.floor(sn / 2)
      }
    } else {
      root = nodeHash(root, sibling, hash)
    }
    fn = Math.floor(fn / 2)
    sn = Math.floor(sn / 2)
  }
  return sn === 0 ? root : null
}
