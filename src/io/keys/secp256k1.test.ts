import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { privateKeyToAccount } from 'viem/accounts'
import { bytesOf, hexOf } from '../../core/base/hex.ts'
import { addressOf, nativeCurve, nobleCurve, secp256k1, secp256k1Over } from './secp256k1.ts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

const native = nativeCurve()
const curves = [native, nobleCurve].flatMap((curve) => (curve ? [secp256k1Over(curve)] : []))

const digestOf = (text: string): Uint8Array =>
  new Uint8Array(createHash('sha256').update(text).digest())

describe('secp256k1', () => {
  it('runs on libsecp256k1 where a prebuilt addon is', (t) => {
    if (process.platform !== 'linux' || process.arch !== 'x64') return t.skip('no prebuilt here')
    assert.equal(secp256k1.curve, 'libsecp256k1')
    assert.deepEqual(
      curves.map(({ curve }) => curve),
      ['libsecp256k1', 'noble'],
    )
  })

  it('gives the same bytes whatever computes them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (digest) => {
        const key = secp256k1.makeSecretKey()
        const [first, ...others] = curves.map((curve) => ({
          publicKey: hexOf(curve.publicKeyOf(key)),
          signature: hexOf(curve.sign(digest, key)),
        }))
        for (const other of others) assert.deepEqual(other, first)
        for (const curve of curves) {
          const signature = bytesOf(first!.signature)
          assert.equal(hexOf(curve.recover(digest, signature)!), first!.publicKey)
          assert.ok(curve.verify(digest, signature, bytesOf(first!.publicKey)))
        }
      }),
      { numRuns: 20 },
    )
  })

  it('signs as viem does, for the address that viem says', async () => {
    const key = secp256k1.makeSecretKey()
    const account = privateKeyToAccount(hexOf(key))
    const digest = digestOf('a voucher')
    assert.equal(addressOf(secp256k1.publicKeyOf(key)), account.address.toLowerCase())
    assert.equal(hexOf(secp256k1.sign(digest, key)), await account.sign({ hash: hexOf(digest) }))
  })

  for (const curve of curves) {
    describe(`over ${curve.curve}`, () => {
      const key = curve.makeSecretKey()
      const publicKey = curve.publicKeyOf(key)
      const digest = digestOf('a voucher')
      const signature = curve.sign(digest, key)
      const refuses = (bytes: Uint8Array, over = digest): void => {
        assert.equal(curve.verify(over, bytes, publicKey), false)
        const signer = curve.recover(over, bytes)
        assert.ok(signer === null || hexOf(signer) !== hexOf(publicKey))
      }

      it('refuses another digest, another key, another length', () => {
        assert.ok(curve.verify(digest, signature, publicKey))
        refuses(signature, digestOf('another'))
        refuses(signature, digest.subarray(1))
        refuses(signature.subarray(0, 64))
        refuses(Uint8Array.of(...signature, 0))
        refuses(new Uint8Array())
        const stranger = curve.publicKeyOf(curve.makeSecretKey())
        assert.equal(curve.verify(digest, signature, stranger), false)
      })

      it('refuses the same signature with s in the upper half', () => {
        const high = signature.slice()
        const s = BigInt(hexOf(signature.subarray(32, 64)))
        high.set(bytesOf(`0x${(ORDER - s).toString(16).padStart(64, '0')}`), 32)
        high[64] = signature[64] === 27 ? 28 : 27
        assert.equal(curve.recover(digest, high), null)
      })

      it('refuses every v but the right one, which a plain verification would not see', () => {
        for (let v = 0; v < 256; v++) {
          if (v === signature[64]) continue
          refuses(Uint8Array.of(...signature.subarray(0, 64), v))
        }
      })

      it('refuses r and s that are zero or beyond the order', () => {
        const zero = new Uint8Array(32)
        const order = bytesOf(`0x${ORDER.toString(16)}`)
        for (const part of [zero, order, new Uint8Array(32).fill(255)]) {
          refuses(Uint8Array.of(...part, ...signature.subarray(32)))
          refuses(Uint8Array.of(...signature.subarray(0, 32), ...part, 27))
        }
      })

      it('survives any bytes', () => {
        for (let round = 0; round < 200; round++)
          refuses(Uint8Array.of(...randomBytes(64), 27 + (round & 1)))
      })

      it('knows what is no key', () => {
        assert.equal(curve.isSecretKey(new Uint8Array(32)), false)
        assert.equal(curve.isSecretKey(bytesOf(`0x${ORDER.toString(16)}`)), false)
        assert.equal(curve.isSecretKey(new Uint8Array(31).fill(1)), false)
        assert.equal(curve.isSecretKey(new Uint8Array(32).fill(1)), true)
      })
    })
  }
})
