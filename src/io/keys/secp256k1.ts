/**
 * Ethereum's signatures: secp256k1 over a 32-byte digest, 65 bytes `r ‖ s ‖ v`. By libsecp256k1 where its prebuilt addon
 * loads, by @noble/curves elsewhere (about 20 times slower); both give and take the very same bytes.
 *
 * Strict, as the contracts are (OpenZeppelin's ECDSA): s in the lower half only, v 27 or 28 only, 65 bytes only.
 */
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { secp256k1 as noble } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { hexOf, type Address } from '../../core/base/hex.ts'

/** What libsecp256k1 and noble both do, in one shape: `signature` is 64 bytes `r ‖ s`, keys are 65 bytes `04 ‖ x ‖ y`. */
export type Curve = {
  readonly name: 'libsecp256k1' | 'noble'
  isSecretKey(secretKey: Uint8Array): boolean
  publicKey(secretKey: Uint8Array): Uint8Array
  sign(digest: Uint8Array, secretKey: Uint8Array): { signature: Uint8Array; recid: number }
  /** Null where no key could have made this signature. */
  recover(digest: Uint8Array, signature: Uint8Array, recid: number): Uint8Array | null
}

export const SIGNATURE_BYTES = 65

export type Secp256k1 = {
  readonly curve: Curve['name']
  isSecretKey(secretKey: Uint8Array): boolean
  /** 32 random bytes that are a key. */
  makeSecretKey(): Uint8Array
  /** 65 bytes: 4, x, y. */
  publicKeyOf(secretKey: Uint8Array): Uint8Array
  /** 65 bytes, deterministic (RFC 6979), s low, v 27 or 28. */
  sign(digest: Uint8Array, secretKey: Uint8Array): Uint8Array
  /**
   * Whether `publicKey` (65 bytes, kept from `recover`) signed this. The key is recovered and compared instead of the equation
   * being verified: so v is checked, too, which a contract goes by and a plain verification never looks at.
   */
  verify(digest: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean
  /** The public key that signed this; null for a signature that is malformed or that no key could have made. */
  recover(digest: Uint8Array, signature: Uint8Array): Uint8Array | null
}

const require = createRequire(import.meta.url)

/** n/2, big-endian: the largest s that is taken. */
const HALF_ORDER = Uint8Array.from(
  Buffer.from('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 'hex'),
)

export const nobleCurve: Curve = {
  name: 'noble',
  isSecretKey: (secretKey) => noble.utils.isValidSecretKey(secretKey),
  publicKey: (secretKey) => noble.getPublicKey(secretKey, false),
  sign(digest, secretKey) {
    const bytes = noble.sign(digest, secretKey, { prehash: false, format: 'recovered' })
    return { signature: bytes.subarray(1), recid: bytes[0] ?? 0 }
  },
  recover(digest, signature, recid) {
    try {
      const recovered = noble.Signature.fromBytes(Uint8Array.of(recid, ...signature), 'recovered')
      return recovered.recoverPublicKey(digest).toBytes(false)
    } catch {
      return null
    }
  },
}

/** Null where the addon does not load. The package's own way out is elliptic, which is not what we want. */
export function nativeCurve(): Curve | null {
  let native: typeof import('secp256k1')
  try {
    native = require('secp256k1/bindings.js')
  } catch {
    return null
  }
  return {
    name: 'libsecp256k1',
    isSecretKey: (secretKey) => secretKey.length === 32 && native.privateKeyVerify(secretKey),
    publicKey: (secretKey) => native.publicKeyCreate(secretKey, false),
    sign: (digest, secretKey) => native.ecdsaSign(digest, secretKey),
    recover(digest, signature, recid) {
      try {
        return native.ecdsaRecover(signature, recid, digest, false)
      } catch {
        return null
      }
    },
  }
}

export function secp256k1Over(curve: Curve): Secp256k1 {
  function recover(digest: Uint8Array, signature: Uint8Array): Uint8Array | null {
    if (digest.length !== 32 || signature.length !== SIGNATURE_BYTES) return null
    const v = signature[64]
    if ((v !== 27 && v !== 28) || !isLow(signature)) return null
    return curve.recover(digest, signature.subarray(0, 64), v - 27)
  }
  return {
    curve: curve.name,
    isSecretKey: (secretKey) => curve.isSecretKey(secretKey),
    makeSecretKey() {
      for (;;) {
        const bytes = new Uint8Array(randomBytes(32))
        if (curve.isSecretKey(bytes)) return bytes
      }
    },
    publicKeyOf: (secretKey) => curve.publicKey(secretKey),
    sign(digest, secretKey) {
      if (digest.length !== 32) throw new RangeError(`a digest has 32 bytes, not ${digest.length}`)
      const { signature, recid } = curve.sign(digest, secretKey)
      // Beyond 1 only for an r above the curve's order: one signature in 2^127, and a contract could not check it.
      if (recid > 1) throw new Error('a signature that no contract can check; sign something else')
      const bytes = new Uint8Array(SIGNATURE_BYTES)
      bytes.set(signature)
      bytes[64] = 27 + recid
      return bytes
    },
    verify(digest, signature, publicKey) {
      const signer = recover(digest, signature)
      return signer !== null && sameBytes(signer, publicKey)
    },
    recover,
  }
}

export const secp256k1: Secp256k1 = secp256k1Over(nativeCurve() ?? nobleCurve)

/** A public key of 65 bytes → the address it controls, lower case. */
export function addressOf(publicKey: Uint8Array): Address {
  if (publicKey.length !== 65)
    throw new RangeError(`a public key has 65 bytes, not ${publicKey.length}`)
  return hexOf(keccak256(publicKey.subarray(1)).subarray(12))
}

export const keccak256 = (bytes: Uint8Array): Uint8Array => keccak_256(bytes)

function isLow(signature: Uint8Array): boolean {
  for (let index = 0; index < 32; index++) {
    const difference = (signature[32 + index] ?? 0) - (HALF_ORDER[index] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return true
}

/** Of public things: nothing is to be learned from how long it takes. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false
  return true
}
