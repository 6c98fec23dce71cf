/**
 * Hybrid public key encryption, RFC 9180, base mode, one message per key agreement, in one suite:
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. The primitives are node:crypto's.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto'

/** The encapsulated key: an X25519 public key. */
export const ENCAPSULATED_BYTES = 32
export const TAG_BYTES = 16

/** KEM 0x0020, KDF 0x0001, AEAD 0x0003: RFC 9180, 7. */
const KEM_SUITE = Buffer.from('KEM\x00\x20', 'latin1')
const SUITE = Buffer.from('HPKE\x00\x20\x00\x01\x00\x03', 'latin1')
const VERSION = Buffer.from('HPKE-v1')
const BASE_MODE = Buffer.of(0)
const NOTHING = Buffer.alloc(0)
const CIPHER = 'chacha20-poly1305'

/** SubjectPublicKeyInfo of X25519 is this prefix and the 32 raw bytes (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

/** What sealer and opener must agree on besides the key. */
export type HpkeContext = {
  /** Binds the key agreement: which protocol this is. */
  readonly info: Uint8Array
  /** Binds the message: what it is about. Not part of the ciphertext. */
  readonly aad: Uint8Array
}

/** `Seal`, RFC 9180, 6.1. `ephemeral` is a fresh private key, used this once. Throws when the recipient's key is a weak one. */
export function hpkeSeal(
  plaintext: Uint8Array,
  recipient: KeyObject,
  ephemeral: KeyObject,
  { info, aad }: HpkeContext,
): { encapsulated: Buffer; ciphertext: Buffer } {
  const encapsulated = rawPublicKey(createPublicKey(ephemeral))
  const shared = diffieHellman({ privateKey: ephemeral, publicKey: recipient })
  const { key, nonce } = schedule(shared, encapsulated, rawPublicKey(recipient), info)
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(aad, { plaintextLength: plaintext.length })
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  return { encapsulated, ciphertext }
}

/** `Open`, RFC 9180, 6.1. Throws when anything at all is not as it was sealed. */
export function hpkeOpen(
  ciphertext: Uint8Array,
  encapsulated: Uint8Array,
  recipient: KeyObject,
  { info, aad }: HpkeContext,
): Buffer {
  const shared = diffieHellman({ privateKey: recipient, publicKey: publicKeyOf(encapsulated) })
  const own = rawPublicKey(createPublicKey(recipient))
  const { key, nonce } = schedule(shared, encapsulated, own, info)
  const end = ciphertext.length - TAG_BYTES
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(aad, { plaintextLength: end })
  decipher.setAuthTag(ciphertext.subarray(end))
  return Buffer.concat([decipher.update(ciphertext.subarray(0, end)), decipher.final()])
}

/** 32 raw bytes as a key. Throws on any other number. */
export function publicKeyOf(raw: Uint8Array): KeyObject {
  // DER readers overlook what comes behind.
  if (raw.length !== ENCAPSULATED_BYTES) throw new RangeError(`a key of ${raw.length} bytes`)
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' })
}

export function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length)
}

/** RFC 9180, 4.1 (`ExtractAndExpand`) and 5.1 (`KeySchedule` without a pre-shared key). */
function schedule(
  agreed: Uint8Array,
  encapsulated: Uint8Array,
  recipient: Uint8Array,
  info: Uint8Array,
): { key: Buffer; nonce: Buffer } {
  const kemContext = Buffer.concat([encapsulated, recipient])
  const prk = extract(KEM_SUITE, NOTHING, 'eae_prk', agreed)
  const shared = expand(KEM_SUITE, prk, 'shared_secret', kemContext, 32)
  const context = Buffer.concat([
    BASE_MODE,
    extract(SUITE, NOTHING, 'psk_id_hash', NOTHING),
    extract(SUITE, NOTHING, 'info_hash', info),
  ])
  const secret = extract(SUITE, shared, 'secret', NOTHING)
  return {
    key: expand(SUITE, secret, 'key', context, 32),
    nonce: expand(SUITE, secret, 'base_nonce', context, 12),
  }
}

/** `LabeledExtract`: HKDF-Extract is one HMAC. */
function extract(suite: Buffer, salt: Uint8Array, label: string, ikm: Uint8Array): Buffer {
  const hmac = createHmac('sha256', salt).update(VERSION).update(suite)
  return hmac.update(label).update(ikm).digest()
}

/** `LabeledExpand`: up to one hash's length, HKDF-Expand is one HMAC too. */
function expand(
  suite: Buffer,
  prk: Uint8Array,
  label: string,
  info: Uint8Array,
  bytes: number,
): Buffer {
  const hmac = createHmac('sha256', prk).update(Buffer.of(0, bytes)).update(VERSION).update(suite)
  return hmac.update(label).update(info).update(Buffer.of(1)).digest().subarray(0, bytes)
}
