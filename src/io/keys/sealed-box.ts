/**
 * Secrets on their way from a tenant to the one node that needs them: whoever carries or keeps them in between sees
 * nothing, and cannot put them to another use.
 *
 *   [u8 version 1][32 bytes encapsulated key][ciphertext and tag]      RFC 9180, see hpke.ts
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { Fault } from '../../core/base/refusal.ts'
import {
  ENCAPSULATED_BYTES,
  hpkeOpen,
  hpkeSeal,
  publicKeyOf,
  rawPublicKey,
  TAG_BYTES,
} from './hpke.ts'
import { loadPrivateKey, makePrivateKey } from './key-file.ts'

export type SealingKey = {
  /** 32 bytes, base64url: what travels. */
  readonly publicKey: string
  /** What was sealed to this key, about just this. Fault `sealed_box_invalid` when anything is not as it was sealed. */
  readonly open: (box: Uint8Array, about: string) => Buffer
}

/** A manifest with its secrets is far smaller; larger things are sealed by a key that is sealed. */
export const MAX_SEALED_BYTES = 4 * 1024 * 1024

const VERSION = 1
const HEADER_BYTES = 1 + ENCAPSULATED_BYTES
/** Boxes of another protocol do not open here, even to the same key. */
const INFO = Buffer.from('baseload sealed box v1\n')

/** Reads the sealing key at `path`, or makes one there with mode 0600. It stands beside the identity, whose key only signs. */
export function loadSealingKey(path: string): SealingKey {
  return sealingKeyOf(loadPrivateKey('x25519', path))
}

/** A sealing key that lives in memory only. */
export function ephemeralSealingKey(): SealingKey {
  return sealingKeyOf(makePrivateKey('x25519'))
}

/**
 * A box that only the recipient opens, and only for what it is about, e.g. the lease and its epoch: a box that is
 * moved elsewhere stays shut. `recipient` is a SealingKey's public key. Throws a RangeError above
 * MAX_SEALED_BYTES, and the Fault `sealing_key_invalid` for a key that is none.
 */
export function seal(plaintext: Uint8Array, recipient: string, about: string): Buffer {
  if (plaintext.length > MAX_SEALED_BYTES)
    throw new RangeError(`${plaintext.length} bytes to seal, limit ${MAX_SEALED_BYTES}`)
  const raw = Buffer.from(recipient, 'base64url')
  const context = { info: INFO, aad: Buffer.from(about) }
  try {
    const ephemeral = makePrivateKey('x25519')
    const { encapsulated, ciphertext } = hpkeSeal(plaintext, publicKeyOf(raw), ephemeral, context)
    return Buffer.concat([Buffer.of(VERSION), encapsulated, ciphertext])
  } catch (cause) {
    throw new Fault('sealing_key_invalid', 'this is no sealing key of a node', { cause })
  }
}

function sealingKeyOf(privateKey: KeyObject): SealingKey {
  return {
    publicKey: rawPublicKey(createPublicKey(privateKey)).toString('base64url'),
    open: (box, about) => open(box, privateKey, about),
  }
}

function open(box: Uint8Array, privateKey: KeyObject, about: string): Buffer {
  if (
    box.length < HEADER_BYTES + TAG_BYTES ||
    box.length > HEADER_BYTES + MAX_SEALED_BYTES + TAG_BYTES
  )
    throw new Fault('sealed_box_invalid', `a sealed box of ${box.length} bytes`)
  if (box[0] !== VERSION)
    throw new Fault('sealed_box_invalid', `a sealed box of version ${box[0]}; this is version 1`)
  const context = { info: INFO, aad: Buffer.from(about) }
  try {
    return hpkeOpen(box.subarray(HEADER_BYTES), box.subarray(1, HEADER_BYTES), privateKey, context)
  } catch (cause) {
    // Which of the many things it was is nobody's business.
    throw new Fault(
      'sealed_box_invalid',
      'it was not sealed to this key, or about something else',
      {
        cause,
      },
    )
  }
}
