/**
 * Secrets in an envelope: their values under a content key that is used once, and that key sealed to each node that may
 * come to need it. So a lease can move among these nodes without its tenant, and the gateway that keeps the envelope
 * reads nothing.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { idFrom } from '../../core/base/id.ts'
import { canonicalJson } from '../../core/base/canonical-json.ts'
import { Fault } from '../../core/base/refusal.ts'
import {
  aboutContentKey,
  aboutSecrets,
  MAX_SECRETS,
  MAX_SECRETS_BYTES,
  MAX_SEALED_NODES,
  namesOf,
  PADDING_BYTES,
  secretValuesSchema,
  SEALING_KEY_DOMAIN,
  sealingKeyText,
  type SealedSecrets,
  type SecretEnvelope,
  type SecretScope,
  type SecretValues,
  type SignedSealingKey,
} from '../../core/protocol/secrets.ts'
import { TAG_BYTES } from './hpke.ts'
import { idOfKey, sha256, sha256Hex, verifySignature, type Identity } from './identity.ts'
import { seal, type SealingKey } from './sealed-box.ts'

const VERSION = 1
const CIPHER = 'chacha20-poly1305'
const KEY_BYTES = 32
/** A key that encrypts one message needs no other. */
const NONCE = Buffer.alloc(12)

export type Recipient = { readonly node: string; readonly sealingKey: string }

/**
 * The envelope for one group. Throws the Fault `secrets_too_large`, `secrets_too_many` or `secrets_invalid`, and a RangeError for
 * no recipients or too many.
 */
export function sealSecrets(
  values: SecretValues,
  scope: SecretScope,
  recipients: readonly Recipient[],
): SecretEnvelope {
  if (recipients.length === 0 || recipients.length > MAX_SEALED_NODES)
    throw new RangeError(`${recipients.length} nodes to seal for, limit ${MAX_SEALED_NODES}`)
  const names = namesOf(values)
  const count = values.env.length + values.registry.length
  if (count > MAX_SECRETS || names.length === 0)
    throw new Fault('secrets_too_many', `${count} secrets, 1 to ${MAX_SECRETS} can be sealed`)
  if (names.length < count) throw new Fault('secrets_invalid', 'a secret is given twice')
  const contentKey = randomBytes(KEY_BYTES)
  const ciphertext = encrypt(plaintextOf(values), contentKey, aboutSecrets(scope, names))
  const digest = sha256Hex(ciphertext)
  const keys = recipients.map(({ node, sealingKey: key }) => {
    const box = seal(contentKey, key, aboutContentKey(scope, node, digest)).toString('base64url')
    return [node, { key, box }] as const
  })
  contentKey.fill(0)
  return {
    v: 1,
    group: scope.group,
    names,
    ciphertext: ciphertext.toString('base64url'),
    keys: Object.fromEntries(keys),
  }
}

/** The values. Throws Fault `sealed_box_invalid` when anything is not as it was sealed: for this node, tenant, deployment and group. */
export function openSecrets(
  { names, ciphertext, box }: SealedSecrets,
  scope: SecretScope,
  { node, key }: { readonly node: string; readonly key: SealingKey },
): SecretValues {
  const sealed = Buffer.from(ciphertext, 'base64url')
  const about = aboutContentKey(scope, node, sha256Hex(sealed))
  const contentKey = key.open(Buffer.from(box, 'base64url'), about)
  try {
    const text = decrypt(sealed, contentKey, aboutSecrets(scope, names)).toString()
    return secretValuesSchema.parse(JSON.parse(text))
  } catch {
    // No cause: a parser's message may quote what it could not read.
    throw new Fault('sealed_box_invalid', 'the secrets are not as they were sealed')
  } finally {
    contentKey.fill(0)
  }
}

function plaintextOf(values: SecretValues): Buffer {
  const text = Buffer.from(canonicalJson(values))
  if (text.length > MAX_SECRETS_BYTES)
    throw new Fault(
      'secrets_too_large',
      `the secrets of one group have ${text.length} bytes as JSON, limit ${MAX_SECRETS_BYTES}`,
    )
  const padded = Buffer.alloc(Math.ceil(text.length / PADDING_BYTES) * PADDING_BYTES, ' ')
  text.copy(padded)
  return padded
}

function encrypt(plaintext: Buffer, key: Buffer, about: string): Buffer {
  const cipher = createCipheriv(CIPHER, key, NONCE, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(about), { plaintextLength: plaintext.length })
  return Buffer.concat([
    Buffer.of(VERSION),
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ])
}

function decrypt(sealed: Buffer, key: Buffer, about: string): Buffer {
  const end = sealed.length - TAG_BYTES
  if (sealed[0] !== VERSION || end < 1) throw new RangeError(`no ciphertext of version ${VERSION}`)
  const decipher = createDecipheriv(CIPHER, key, NONCE, { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.from(about), { plaintextLength: end - 1 })
  decipher.setAuthTag(sealed.subarray(end))
  return Buffer.concat([decipher.update(sealed.subarray(1, end)), decipher.final()])
}

/**
 * The id of a deployment whose secrets were sealed before it was made. It follows from tenant and nonce, so that nobody can take
 * another tenant's, nor his envelope.
 */
export const sealedDeploymentId = (tenant: string, nonce: string): string =>
  idFrom('dep', sha256(Buffer.from(`baseload deployment v1\n${tenant}\n${nonce}`)))

export const signSealingKey = (
  identity: Identity,
  { publicKey }: SealingKey,
): SignedSealingKey => ({
  key: publicKey,
  signature: identity.sign(SEALING_KEY_DOMAIN, sealingKeyText(identity.id, publicKey)),
})

/** Whether the node says so itself: its id follows from `nodeKey`, and that signed the sealing key. */
export const isSealingKeyOf = (
  node: string,
  nodeKey: string,
  { key, signature }: SignedSealingKey,
): boolean =>
  idOfKey('node', nodeKey) === node &&
  verifySignature(nodeKey, SEALING_KEY_DOMAIN, sealingKeyText(node, key), signature)
