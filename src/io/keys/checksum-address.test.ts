import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { getAddress } from 'viem'
import { hexOf } from '../../core/base/hex.ts'
import { checksumAddress } from './checksum-address.ts'

describe('a checksummed address', () => {
  it('is what viem makes of it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const address = hexOf(bytes)
        assert.equal(checksumAddress(address), getAddress(address))
      }),
    )
  })
})
