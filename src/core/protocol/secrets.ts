/**
 * Secrets of a lease: environment variables and registry passwords that only the node that runs it may read. A
 * tenant's CLI seals them; the gateway keeps an envelope, and hands each node its own part of it. docs/protocol.md
 * draws the bytes.
 */
import { z } from 'zod'
import { canonicalJson } from '../base/canonical-json.ts'
import type { Manifest, Service } from './manifest.ts'

/** More variables than any program reads. */
export const MAX_SECRETS = 256
/** All values of one group, as JSON: a few certificates fit, and the envelope stays small in a gateway's book. */
export const MAX_SECRETS_BYTES = 64 * 1024
/** Nodes for which one envelope is sealed: each costs 200 bytes wherever the lease is written down. */
export const MAX_SEALED_NODES = 128
/** Values are padded with spaces to a multiple of this, so that a length tells little. */
export const PADDING_BYTES = 256
const TAG_BYTES = 16

/** Stands in an SDL file where a registry's password was taken out of it. */
export const SEALED_PASSWORD = 'sealed-by-baseload'

const word = z.string().min(1).max(300)
const text = z.string().max(MAX_SECRETS_BYTES)
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/
const SERVICE = /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/

/** What is sealed, with its values. */
export const secretValuesSchema = z.strictObject({
  v: z.literal(1),
  env: z.array(
    z.strictObject({
      service: z.string().regex(SERVICE),
      name: z.string().regex(VARIABLE),
      value: text,
    }),
  ),
  /** Only for images of this registry: whoever changes the image cannot have the password sent elsewhere. */
  registry: z.array(
    z.strictObject({ service: z.string().regex(SERVICE), registry: word, password: text }),
  ),
})
export type SecretValues = z.infer<typeof secretValuesSchema>

/** `web.DB_PASSWORD`, or `web@registry`: what anyone may know of a secret. */
const secretName = z.string().regex(/^[-a-z0-9]{1,63}(\.[A-Za-z_][A-Za-z0-9_.-]{0,254}|@registry)$/)
const names = z.array(secretName).min(1).max(MAX_SECRETS)

const base64Length = (bytes: number): number => Math.ceil((bytes * 4) / 3)
/** Base64url of `[u8 version 1][ciphertext][16 bytes tag]`. */
const ciphertext = z
  .string()
  .regex(/^[\w-]+$/)
  .max(base64Length(1 + MAX_SECRETS_BYTES + TAG_BYTES))
/** Base64url of a sealed box with the 32 bytes of the content key. */
const box = z.string().regex(/^[\w-]{108}$/)
const sealingKey = z.string().regex(/^[\w-]{43}$/)
const nodeId = z.string().regex(/^node_[0-9a-z]{24}$/)

/** As the gateway keeps it, for one group: nobody but the nodes that it names can open it. */
export const secretEnvelopeSchema = z.strictObject({
  v: z.literal(1),
  group: word,
  names,
  ciphertext,
  /** By node: the key that it showed, and the content key sealed to that. */
  keys: z
    .record(nodeId, z.strictObject({ key: sealingKey, box }))
    .refine((keys) => Object.keys(keys).length > 0, 'it is sealed for no node')
    .refine(
      (keys) => Object.keys(keys).length <= MAX_SEALED_NODES,
      `at most ${MAX_SEALED_NODES} nodes`,
    ),
})
export type SecretEnvelope = z.infer<typeof secretEnvelopeSchema>

/** As one node gets it, and keeps it. */
export const sealedSecretsSchema = z.strictObject({ v: z.literal(1), names, ciphertext, box })
export type SealedSecrets = z.infer<typeof sealedSecretsSchema>

/** A node's part of an envelope; null when the content key was not sealed for it. */
export function sealedFor(envelope: SecretEnvelope, node: string): SealedSecrets | null {
  const { v, names: all, ciphertext: sealed, keys } = envelope
  const own = keys[node]
  return own === undefined ? null : { v, names: all, ciphertext: sealed, box: own.box }
}

/** For whom it was sealed: in another tenant's hands, or in another deployment, it stays shut. */
export type SecretScope = {
  readonly tenant: string
  readonly deployment: string
  readonly group: string
}

/** What the ciphertext is bound to. */
export const aboutSecrets = (scope: SecretScope, all: readonly string[]): string =>
  canonicalJson({ use: 'baseload secrets v1', ...plain(scope), names: all })

/** What each node's box is bound to; `digest` is the SHA-256 of the ciphertext, in hex. */
export const aboutContentKey = (scope: SecretScope, node: string, digest: string): string =>
  canonicalJson({ use: 'baseload secrets key v1', ...plain(scope), node, digest })

const plain = ({ tenant, deployment, group }: SecretScope) => ({ tenant, deployment, group })

/** Sorted, each once. */
export function namesOf({ env, registry }: SecretValues): string[] {
  const all = [
    ...env.map(({ service, name }) => `${service}.${name}`),
    ...registry.map(({ service }) => registrySecret(service)),
  ]
  return [...new Set(all)].toSorted()
}

export const registrySecret = (service: string): string => `${service}@registry`

/** `web.DB_PASSWORD` → web and DB_PASSWORD; null for what names no variable. */
export function readVariable(spot: string): { service: string; name: string } | null {
  const [, service = '', name = ''] = /^([^.]+)\.(.+)$/s.exec(spot) ?? []
  return SERVICE.test(service) && VARIABLE.test(name) ? { service, name } : null
}

/** Whose images a password is for: `ghcr.io` of `ghcr.io/me/app:1`, `docker.io` of `me/app`. */
export function registryOf(image: string): string {
  const [first = '', ...rest] = image.split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  return isHost ? first : 'docker.io'
}

/** Services whose registry password was taken out and has to come sealed. */
export const sealedLogins = ({ services }: Manifest): string[] =>
  services.flatMap(({ name, credentials }) =>
    credentials?.password === SEALED_PASSWORD ? [name] : [],
  )

/**
 * The manifest as it runs: values stand where they belong, a secret variable in the place of a plain one. Secrets of
 * services that are gone are left out. `why` says what is missing.
 */
export function withSecrets(
  manifest: Manifest,
  values: SecretValues | null,
): { readonly manifest: Manifest } | { readonly why: string } {
  const services: Service[] = []
  for (const service of manifest.services) {
    const env = (values?.env ?? []).filter((one) => one.service === service.name)
    const secret = new Set(env.map(({ name }) => name))
    const shown = service.env.filter((one) => !secret.has(one.split('=', 1)[0] ?? ''))
    const credentials = login(service, values)
    if (credentials !== null && 'why' in credentials) return credentials
    const hidden = env.map(({ name, value }) => `${name}=${value}`)
    services.push({ ...service, env: [...shown, ...hidden], credentials })
  }
  return { manifest: { ...manifest, services } }
}

function login(
  { name, image, credentials }: Service,
  values: SecretValues | null,
): Service['credentials'] | { readonly why: string } {
  if (credentials?.password !== SEALED_PASSWORD) return credentials
  const sealed = values?.registry.find(({ service }) => service === name)
  if (!sealed) return { why: `the registry password of '${name}' is not among its secrets` }
  const wanted = registryOf(image)
  if (sealed.registry !== wanted)
    return {
      why: `the registry password of '${name}' was sealed for ${sealed.registry}, and its image is of ${wanted}`,
    }
  return { ...credentials, password: sealed.password }
}

export const SEALING_KEY_DOMAIN = 'baseload sealing key v1\n'

/** A node's word that secrets for it are sealed to this X25519 key: base64url Ed25519 over the domain and `sealingKeyText`. */
export const sealingKeySchema = z.strictObject({
  key: sealingKey,
  signature: z.string().max(200),
})
export type SignedSealingKey = z.infer<typeof sealingKeySchema>

export const sealingKeyText = (node: string, key: string): string => `${node}\n${key}`
