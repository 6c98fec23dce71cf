import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { bytesOf, hexOf, isHex, parseAddress } from './hex.ts'

describe('hex', () => {
  it('goes there and back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.deepEqual(bytesOf(hexOf(bytes)), bytes)
        assert.equal(hexOf(bytes), `0x${Buffer.from(bytes).toString('hex')}`)
      }),
    )
  })

  it('takes both cases, and addresses become lower case', () => {
    const mixed = '0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
    assert.equal(parseAddress(mixed), mixed.toLowerCase())
    assert.deepEqual(bytesOf('0xaBcD'), Uint8Array.of(0xab, 0xcd))
  })

  it('refuses what is no hex or has another length', () => {
    for (const text of ['', '0x', '0x0', '0xzz', 'abcd', '0xabc', 17, null, `0x${'0'.repeat(39)}g`])
      assert.equal(parseAddress(text), null)
    assert.ok(isHex('0xab', 1) && !isHex('0xab', 2))
    assert.throws(() => bytesOf('0xg0'), RangeError)
  })
})
