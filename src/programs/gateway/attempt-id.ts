/**
 * Attempt ids that remember, for this gateway's eyes only, whose key an attempt was made with and what it may
 * cost at most. So a gateway that was killed can settle the receipts that nodes hand in afterwards
 * without a durable record per request, and to anyone else the id is noise: two ids of one tenant share nothing.
 *
 *   AES-128 over one block: [6 bytes of the API key's id][3 bytes price ceiling][4 bytes run][3 bytes counter]
 *
 * One block under a secret key is a pseudo-random permutation, so ids are unique as long as (run, counter) is,
 * and a forged id decodes to a known key's id with probability 2⁻⁴⁸ × keys.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { base32 } from '../../core/base/id.ts'
import type { NanoUsd } from '../../core/base/money.ts'

export type AttemptOrigin = {
  /** `keyTag` of the API key. */
  readonly keyTag: string
  /** The most it may cost: what was set aside for it, rounded up by less than a 100,000th. */
  readonly ceilingNanoUsd: NanoUsd
}

export type AttemptIds = {
  make(origin: AttemptOrigin): string
  /** Null for what this gateway never made. The caller still checks that the tag is a key of its own. */
  origin(attempt: string): AttemptOrigin | null
}

const RUN_LENGTH = 0xff_ffff
const TAG_HEX = 12

/** 12 hex digits that stand for an API key id inside attempt ids. */
export function keyTag(apiKeyId: string): string {
  // The ids are random base 32 themselves, so their own characters are as good as a hash of them.
  return Buffer.from(apiKeyId.slice(apiKeyId.indexOf('_') + 1), 'latin1')
    .subarray(0, TAG_HEX / 2)
    .toString('hex')
}

/** `secret`: 16 bytes that stay the same over restarts. */
export function createAttemptIds(secret: Uint8Array): AttemptIds {
  const seal = blockCipher(createCipheriv('aes-128-ecb', secret, null))
  const open = blockCipher(createDecipheriv('aes-128-ecb', secret, null))
  const block = Buffer.alloc(16)
  let run = randomBytes(4)
  let counter = 0
  return {
    make({ keyTag: tag, ceilingNanoUsd }) {
      if (counter === RUN_LENGTH) {
        run = randomBytes(4)
        counter = 0
      }
      block.write(tag, 0, 'hex')
      block.writeUIntBE(packCeiling(ceilingNanoUsd), 6, 3)
      run.copy(block, 9)
      block.writeUIntBE(counter++, 13, 3)
      return `att_${base32(seal(block))}`
    },
    origin(attempt) {
      const sealed = attempt.startsWith('att_') ? fromBase32(attempt.slice(4)) : null
      if (!sealed) return null
      const plain = open(sealed)
      return {
        keyTag: plain.toString('hex', 0, 6),
        ceilingNanoUsd: unpackCeiling(plain.readUIntBE(6, 3)),
      }
    },
  }
}

const MANTISSA_BITS = 18

/** A small floating-point number, rounded up: 6 bits of exponent, 18 of mantissa. Enough for 2⁶³ nano-dollars. */
function packCeiling(nanoUsd: NanoUsd): number {
  let exponent = 0
  while (ceilShift(nanoUsd, exponent) >= 1n << BigInt(MANTISSA_BITS)) exponent += 1
  return (exponent << MANTISSA_BITS) | Number(ceilShift(nanoUsd, exponent))
}

const ceilShift = (n: bigint, bits: number): bigint =>
  (n + (1n << BigInt(bits)) - 1n) >> BigInt(bits)

const unpackCeiling = (packed: number): NanoUsd =>
  BigInt(packed & ((1 << MANTISSA_BITS) - 1)) << BigInt(packed >>> MANTISSA_BITS)

/** ECB without padding keeps no state between blocks, so one cipher object serves for ever. */
type BlockCipher = ReturnType<typeof createCipheriv> | ReturnType<typeof createDecipheriv>

function blockCipher(cipher: BlockCipher): (block: Uint8Array) => Buffer {
  cipher.setAutoPadding(false)
  return (block) => cipher.update(block)
}

const DIGITS = new Map(
  Array.from('0123456789abcdefghjkmnpqrstvwxyz').map((digit, value) => [digit, value]),
)

/** 26 Crockford digits → 16 bytes, or null. */
function fromBase32(text: string): Buffer | null {
  if (text.length !== 26) return null
  const bytes = Buffer.alloc(16)
  let value = 0
  let bits = 0
  let at = 0
  for (const character of text) {
    const digit = DIGITS.get(character)
    if (digit === undefined) return null
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits >= 8 && at < 16) {
      bits -= 8
      bytes[at++] = (value >>> bits) & 0xff
    }
  }
  return bytes
}
