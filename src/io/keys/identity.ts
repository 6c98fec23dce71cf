/**
 * Ed25519 identities: made on first run, kept in a key file.
 * A node's or gateway's id is derived from its public key, so nobody can take another's name.
 */
import { createPublicKey, hash as oneShotHash, sign, verify, type KeyObject } from 'node:crypto'
import { base32 } from '../../core/base/id.ts'
import { loadPrivateKey, makePrivateKey } from './key-file.ts'

export type Identity = {
  /** `node_…` or `gw_…`, from the public key. */
  readonly id: string
  /** 32 bytes, base64url: what travels. */
  readonly publicKey: string
  /** base64url Ed25519 signature over `domain` + `text`. */
  readonly sign: (domain: string, text: string) => string
}

export type IdentityKind = 'node' | 'gw'

/** SubjectPublicKeyInfo of Ed25519 is this prefix and the 32 raw bytes (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/** Reads the identity at `path`, or makes one there with mode 0600. */
export function loadIdentity(kind: IdentityKind, path: string): Identity {
  return identityOf(kind, loadPrivateKey('ed25519', path))
}

/** An identity that lives in memory only: tests, benchmarks and simulators. */
export function ephemeralIdentity(kind: IdentityKind): Identity {
  return identityOf(kind, makePrivateKey('ed25519'))
}

/** `node_` + 24 characters of the key's SHA-256. */
export function idOfKey(kind: IdentityKind, publicKey: string): string {
  return `${kind}_${base32(sha256(Buffer.from(publicKey, 'base64url')).subarray(0, 15))}`
}

/** Whether `signature` is one key's over domain + text. False, not an error, for anything malformed. */
export type SignatureVerifier = (domain: string, text: string, signature: string) => boolean

/** A verifier for one base64url Ed25519 key: parsing the key costs a third of verifying, so keep it. */
export function signatureVerifier(publicKey: string): SignatureVerifier {
  const key = parsePublicKey(publicKey)
  return (domain, text, signature) =>
    key !== null &&
    verify(null, Buffer.from(domain + text), key, Buffer.from(signature, 'base64url'))
}

/** `signatureVerifier` for a key that is met once. */
export function verifySignature(
  publicKey: string,
  domain: string,
  text: string,
  signature: string,
): boolean {
  return signatureVerifier(publicKey)(domain, text, signature)
}

function parsePublicKey(publicKey: string): KeyObject | null {
  const raw = Buffer.from(publicKey, 'base64url')
  if (raw.length !== 32) return null
  try {
    return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' })
  } catch {
    return null
  }
}

export const sha256 = (bytes: Uint8Array): Buffer => oneShotHash('sha256', bytes, 'buffer')
export const sha256Hex = (bytes: Uint8Array | string): string => oneShotHash('sha256', bytes, 'hex')

function identityOf(kind: IdentityKind, privateKey: KeyObject): Identity {
  const der = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const publicKey = der.subarray(SPKI_PREFIX.length).toString('base64url')
  return {
    id: idOfKey(kind, publicKey),
    publicKey,
    sign: (domain, text) =>
      sign(null, Buffer.from(domain + text), privateKey).toString('base64url'),
  }
}
