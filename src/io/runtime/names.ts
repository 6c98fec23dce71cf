/**
 * What we call things at the engine, and the labels by which a restarted agent knows them again. The instance tells
 * node agents on one machine apart.
 */
import { createHash } from 'node:crypto'
import { Fault } from '../../core/base/refusal.ts'
import type { Target, VolumeTarget } from './runtime.ts'

export const LABEL = {
  instance: 'baseload.instance',
  lease: 'baseload.lease',
  epoch: 'baseload.epoch',
  service: 'baseload.service',
  replica: 'baseload.replica',
  /** Hash of all that cannot change in place. */
  shape: 'baseload.shape',
  restart: 'baseload.restart',
  /** Bytes that may be written outside of volumes. */
  diskBytes: 'baseload.disk-bytes',
  volume: 'baseload.volume',
  /** Bytes that a volume may hold. */
  volumeBytes: 'baseload.volume-bytes',
  /** Whether the volume may outlive its lease. */
  persistent: 'baseload.persistent',
  /** An image that is there: what an export needs after the lease has ended. */
  image: 'baseload.image',
} as const

export type Labels = Readonly<Record<string, string>>

/** What we ask of a lease's and a service's name: engines allow no more in their own. */
const PLAIN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/

export function checkName(what: string, name: string): void {
  if (PLAIN.test(name)) return
  throw new Fault(
    'lease_invalid',
    `'${name}' is no name for a ${what}: letters, digits, '_', '.' and '-', at most 64 of them.`,
  )
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Four letters for the agent: network interfaces leave no room for more. */
export const instanceOf = (agent: string): string => digest(agent).slice(0, 4)

/** All interfaces of an instance begin like this. */
export const bridgePrefix = (instance: string): string => `bl${instance}`

/** 14 characters: Linux allows 15. Also the name of the lease's chain in the firewall. */
export const bridgeName = (instance: string, lease: string): string =>
  `${bridgePrefix(instance)}${digest(lease).slice(0, 8)}`

export const networkName = (instance: string, lease: string): string =>
  `baseload-${instance}-${lease}`

export const containerName = (instance: string, { lease, service, replica }: Target): string =>
  `${networkName(instance, lease)}-${service}-${replica}`

export const volumeName = (instance: string, target: VolumeTarget): string =>
  `${containerName(instance, target)}-${target.volume}`

/**
 * For the engine's `filters`. Of several labels Podman's lists of volumes want only one to fit, so answers are filtered
 * again by `hasLabels`.
 */
export const labelFilter = (labels: Labels): { label: string[] } => ({
  label: Object.entries(labels).map(([name, value]) => `${name}=${value}`),
})

export const hasLabels = (own: Labels | null | undefined, wanted: Labels): boolean =>
  Object.entries(wanted).every(([name, value]) => own?.[name] === value)

export const leaseLabels = (instance: string, lease: string, epoch: number): Labels => ({
  [LABEL.instance]: instance,
  [LABEL.lease]: lease,
  [LABEL.epoch]: String(epoch),
})

/** Null: not one of ours. */
export function targetOf(labels: Labels | null | undefined): (Target & { epoch: number }) | null {
  const lease = labels?.[LABEL.lease]
  const service = labels?.[LABEL.service]
  if (lease === undefined || service === undefined) return null
  return {
    lease,
    service,
    replica: Number(labels?.[LABEL.replica] ?? 0),
    epoch: Number(labels?.[LABEL.epoch] ?? 0),
  }
}
