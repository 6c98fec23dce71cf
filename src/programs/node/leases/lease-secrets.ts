/** Secrets of a lease at its node: opened each time that it starts, handed to the runtime, and kept sealed. */
import { Fault } from '../../../core/base/refusal.ts'
import type { Manifest } from '../../../core/protocol/manifest.ts'
import { sealedLogins, withSecrets, type SecretValues } from '../../../core/protocol/secrets.ts'
import type { SealingKey } from '../../../io/keys/sealed-box.ts'
import { openSecrets } from '../../../io/keys/secret-envelope.ts'
import type { LeaseRecord } from './lease-shelf.ts'

/** Whose secrets: what this node's own boxes are bound to. */
export type Opener = { readonly node: string; readonly key: SealingKey }

export type OpenedLease = {
  readonly manifest: Manifest
  /** The same text without the secrets, for whoever may read what went wrong. */
  readonly hide: (text: string) => string
}

/** Shorter values stand in every second text by chance. */
const TELLING_LENGTH = 4

/** The manifest with its secrets. Throws Fault `secrets_sealed` when this node cannot open them, or one is missing. */
export function openLease(
  { manifest, secrets, owner, group }: Omit<LeaseRecord, 'gpus'>,
  opener: Opener,
): OpenedLease {
  if (secrets === null && sealedLogins(manifest).length === 0)
    return { manifest, hide: (text) => text }
  if (secrets !== null && owner === null)
    throw new Fault('secrets_sealed', 'its secrets are for a tenant whom this node does not know')
  const values =
    secrets === null || owner === null
      ? null
      : openSecrets(secrets, { ...owner, group: group.name }, opener)
  const filled = withSecrets(manifest, values)
  if ('why' in filled) throw new Fault('secrets_sealed', filled.why)
  return { manifest: filled.manifest, hide: hider(values) }
}

function hider(values: SecretValues | null): OpenedLease['hide'] {
  const texts = [
    ...(values?.env ?? []).map(({ value }) => value),
    ...(values?.registry ?? []).map(({ password }) => password),
  ]
  // The longest first: one may hold another.
  const telling = texts
    .filter(({ length }) => length >= TELLING_LENGTH)
    .toSorted((a, b) => b.length - a.length)
  return (text) => telling.reduce((left, secret) => left.replaceAll(secret, '[secret]'), text)
}
