/** Placement attributes: what a node says of itself and who vouches for it, against what a group asks for. */
import type { Capacity } from '../protocol/capacity.ts'
import { vramGib } from '../protocol/capacity.ts'
import type { Group } from '../protocol/group.ts'
import { globMatches } from '../protocol/price-sheet.ts'

export type Attributes = Readonly<Record<string, string>>

/** What auditors have signed about a node, by auditor. */
export type Audits = Readonly<Record<string, Attributes>>

/**
 * A node's own attributes, and those that follow from its capacity, under the names that Akash's SDLs ask for:
 * `capabilities/gpu/vendor/nvidia/model/h100`, `capabilities/storage/1/class`.
 */
export function attributesOf(capacity: Capacity): Attributes {
  // What follows from the capacity goes over what is only said.
  const found: Record<string, string> = { ...capacity.attributes }
  for (const gpu of capacity.gpus) {
    const model = `capabilities/gpu/vendor/${gpu.vendor}/model/${gpu.model}`
    const ram = `ram/${vramGib(gpu.vramBytes)}Gi`
    const bus = gpu.interface === null ? [] : [`interface/${gpu.interface}`]
    for (const key of [[], [ram], bus, [ram, ...bus]]) found[[model, ...key].join('/')] = 'true'
  }
  for (const [i, { class: name }] of capacity.persistent.entries()) {
    found[`capabilities/storage/${i + 1}/class`] = name
    found[`capabilities/storage/${i + 1}/persistent`] = 'true'
  }
  if (capacity.region !== null) found['region'] = capacity.region
  const { tier, isolation, cpuArch: arch } = capacity
  return { ...found, tier, isolation, arch }
}

/** Whether one wanted attribute is among them; `*` in the wanted key or value stands for anything. */
export function hasAttribute(attributes: Attributes, key: string, value: string): boolean {
  if (!key.includes('*')) {
    const own = Object.hasOwn(attributes, key) ? attributes[key] : undefined
    return own !== undefined && globMatches(value, own)
  }
  return Object.entries(attributes).some(
    ([name, own]) => globMatches(key, name) && globMatches(value, own),
  )
}

const hasAll = (attributes: Attributes, wanted: Attributes): boolean =>
  Object.entries(wanted).every(([key, value]) => hasAttribute(attributes, key, value))

/**
 * Whether those whom the tenant trusts vouch for all that the group asks for: each of `allOf`, and one of
 * `anyOf`. Without either, what the node says of itself is enough.
 */
export function isVouched(audits: Audits, { signedBy, attributes }: Group): boolean {
  const vouches = (auditor: string): boolean => {
    const signed = Object.hasOwn(audits, auditor) ? audits[auditor] : undefined
    return signed !== undefined && hasAll(signed, attributes)
  }
  return (
    signedBy.allOf.every(vouches) && (signedBy.anyOf.length === 0 || signedBy.anyOf.some(vouches))
  )
}
