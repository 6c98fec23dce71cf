/**
 * Sealed secrets at the gateway, which can open none of them: whether an envelope is for this file, and which nodes can
 * open it. A secret that comes in the clear is refused before anything is written down.
 */
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Manifest } from '../../../core/protocol/manifest.ts'
import type { Offer } from '../../../core/protocol/offer.ts'
import {
  registrySecret,
  sealedLogins,
  SEALED_PASSWORD,
  type SecretEnvelope,
} from '../../../core/protocol/secrets.ts'
import type { Plan } from './lease-file.ts'

/** Who may run it: any node, one that secrets can be sealed for, or one that can open these. */
export type Openers = SecretEnvelope | 'any with a key' | null

export function canOpen(node: string, offer: Offer | undefined, openers: Openers): boolean {
  if (openers === null) return true
  const key = offer?.leases?.sealing?.key
  if (key === undefined) return false
  return openers === 'any with a key' || openers.keys[node]?.key === key
}

/** Whoever runs this has to open something. */
export const openersOf = ({ manifest, secrets }: Plan): Openers =>
  secrets ?? (sealedLogins(manifest).length > 0 ? 'any with a key' : null)

/** Whether this node could open what it would be told to run; null: nobody is told yet. */
export const isSealedFor = ({ secrets }: Plan, node: string | null): boolean =>
  secrets === null || node === null || secrets.keys[node] !== undefined

/** Null when no password of the file can be read. */
export function refuseInClear(manifests: readonly Manifest[]): Refusal | null {
  for (const { services } of manifests)
    for (const { name, credentials } of services)
      if (credentials !== null && credentials.password !== SEALED_PASSWORD)
        return refuse(
          'secret_in_clear',
          `The registry password of '${name}' came in the clear, and nothing was kept of it. Deploy with 'baseload deploy', which seals it for the nodes; 'docs/leases.md' says how.`,
          { param: 'sdl' },
        )
  return null
}

/**
 * The orders with their secrets: those of `envelopes`, or, where none came, what `kept` has for a group. Refused is what
 * belongs to no service, and a file that needs a password which did not come.
 */
export function withEnvelopes(
  orders: readonly Plan[],
  envelopes: readonly SecretEnvelope[] | null,
  kept: (group: string) => SecretEnvelope | null = () => null,
): readonly Plan[] | Refusal {
  const stray = envelopes === null ? null : strayEnvelope(orders, envelopes)
  if (stray !== null) return stray
  const sealed: Plan[] = []
  for (const { group, manifest } of orders) {
    const fresh = envelopes?.find((one) => one.group === group.name) ?? null
    const secrets = envelopes === null ? kept(group.name) : fresh
    const missing = sealedLogins(manifest).find(
      (service) => secrets?.names.includes(registrySecret(service)) !== true,
    )
    if (missing !== undefined)
      return invalid(
        `The registry password of '${missing}' was taken out of the file and did not come sealed. Give 'baseload' the file that has it.`,
      )
    sealed.push({ group, manifest, secrets })
  }
  return sealed
}

function strayEnvelope(
  orders: readonly Plan[],
  envelopes: readonly SecretEnvelope[],
): Refusal | null {
  const seen = new Set<string>()
  for (const { group, names } of envelopes) {
    const order = orders.find((one) => one.group.name === group)
    if (!order || seen.has(group))
      return invalid(
        `Secrets are for the group '${group}', which the file ${order ? 'has once' : 'does not have'}.`,
      )
    seen.add(group)
    const services = new Set(order.manifest.services.map(({ name }) => name))
    const stray = names.find((name) => !services.has(name.split(/[.@]/, 1)[0] ?? ''))
    if (stray !== undefined)
      return invalid(
        `The secret '${stray}' is for a service that the group '${group}' does not have.`,
      )
  }
  return null
}

const invalid = (message: string): Refusal =>
  refuse('secrets_invalid', message, { param: 'secrets' })
