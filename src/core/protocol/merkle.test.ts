import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { leafHash, merklePath, merkleRoot, rootFromPath } from './merkle.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const leavesOf = (n: number) =>
  Array.from({ length: n }, (_, i) => leafHash(Buffer.from(`leaf ${i}`), sha256))
const hex = (bytes: Uint8Array | null) => (bytes ? Buffer.from(bytes).toString('hex') : null)

describe('Merkle tree', () => {
  it('agrees with the RFC 6962 hash of one empty leaf', () => {
    // Known answer of certificate-transparency's own tests.
    assert.equal(
      hex(leafHash(new Uint8Array(0), sha256)),
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    )
  })

  it('proves every leaf of every size up to 33, and no leaf at another place', () => {
    for (let size = 1; size <= 33; size++) {
      const leaves = leavesOf(size)
      const root = hex(merkleRoot(leaves, sha256))
      for (let index = 0; index < size; index++) {
        const path = merklePath(index, leaves, sha256)
        const leaf = leaves[index]!
        assert.equal(hex(rootFromPath({ leaf, index, size, path }, sha256)), root)
        const elsewhere = (index + 1) % size
        if (elsewhere !== index)
          assert.notEqual(hex(rootFromPath({ leaf, index: elsewhere, size, path }, sha256)), root)
        assert.notEqual(
          hex(rootFromPath({ leaf, index, size, path: [...path, leaf] }, sha256)),
          root,
        )
      }
    }
  })
})
