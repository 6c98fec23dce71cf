/** What a lease's manifest and units mean in containers: one plan for each replica. Pure. */
import { createHash } from 'node:crypto'
import { Fault } from '../../core/base/refusal.ts'
import type { Service } from '../../core/protocol/manifest.ts'
import type { Resources } from '../../core/protocol/resources.ts'
import { checkName } from './names.ts'
import type { LeaseSpec, Restart, Target } from './runtime.ts'
import { MAX_CONTAINERS_PER_LEASE } from './subnet.ts'

export type ReplicaPlan = {
  readonly target: Target
  readonly epoch: number
  readonly service: Service
  readonly cpuMilli: number
  readonly memoryBytes: number
  /** What it may write outside of volumes. */
  readonly diskBytes: number
  readonly volumes: readonly VolumePlan[]
  /** Shared memory and the like, counted as memory. */
  readonly inMemory: readonly { readonly path: string; readonly bytes: number }[]
  readonly gpus: readonly string[]
  readonly readOnlyRoot: boolean
  readonly restart: Restart
}

export type VolumePlan = {
  readonly volume: string
  readonly path: string
  readonly readOnly: boolean
  readonly bytes: number
  readonly persistent: boolean
}

/** A service that leased no disk may still write a pid file and a few lines. */
const LEAST_DISK_BYTES = 16 << 20

/** Throws Fault `lease_invalid` where manifest and units do not fit each other, or the names no engine. */
export function planLease(spec: LeaseSpec): ReplicaPlan[] {
  checkName('lease', spec.lease)
  const plans = spec.manifest.services.flatMap((service) => planService(spec, service))
  if (plans.length > MAX_CONTAINERS_PER_LEASE)
    throw new Fault(
      'lease_invalid',
      `Lease ${spec.lease} wants ${plans.length} containers; one lease on one node has at most ${MAX_CONTAINERS_PER_LEASE}.`,
    )
  return plans
}

function planService(spec: LeaseSpec, service: Service): ReplicaPlan[] {
  checkName('service', service.name)
  const unit = spec.units.find(({ id }) => id === service.unit)
  if (unit === undefined)
    throw new Fault(
      'lease_invalid',
      `Service ${service.name} of lease ${spec.lease} runs on unit ${service.unit}, which its group does not have.`,
    )
  const { resources } = unit
  return Array.from({ length: service.count }, (_, replica) => ({
    target: { lease: spec.lease, service: service.name, replica },
    epoch: spec.epoch,
    service,
    cpuMilli: resources.cpuMilli,
    memoryBytes: resources.memoryBytes,
    diskBytes: diskBytesOf(service, resources),
    ...mountsOf(service, resources),
    gpus: gpusOf(spec, service, replica, resources),
    readOnlyRoot: spec.readOnlyRoot?.includes(service.name) ?? false,
    restart: spec.restart ?? 'always',
  }))
}

function diskBytesOf({ mounts }: Service, { volumes }: Resources): number {
  const mounted = new Set(mounts.map(({ volume }) => volume))
  const own = volumes.filter(
    (one) => !one.persistent && one.class !== 'ram' && !mounted.has(one.name),
  )
  return Math.max(
    LEAST_DISK_BYTES,
    own.reduce((sum, { bytes }) => sum + bytes, 0),
  )
}

function mountsOf(
  { name, unit, mounts }: Service,
  { volumes }: Resources,
): Pick<ReplicaPlan, 'volumes' | 'inMemory'> {
  const found = mounts.map((mount) => {
    checkName('volume', mount.volume)
    const volume = volumes.find((one) => one.name === mount.volume)
    if (volume !== undefined) return { ...mount, about: volume }
    throw new Fault(
      'lease_invalid',
      `Service ${name} mounts volume ${mount.volume}, which its unit ${unit} does not have.`,
    )
  })
  return {
    volumes: found
      .filter(({ about }) => about.class !== 'ram')
      .map(({ volume, path, readOnly, about: { bytes, persistent } }) => ({
        volume,
        path,
        readOnly,
        bytes,
        persistent,
      })),
    inMemory: found
      .filter(({ about }) => about.class === 'ram')
      .map(({ path, about }) => ({ path, bytes: about.bytes })),
  }
}

function gpusOf(
  spec: LeaseSpec,
  service: Service,
  replica: number,
  { gpu }: Resources,
): readonly string[] {
  const wanted = gpu?.units ?? 0
  const given = spec.gpus?.[service.name]?.[replica] ?? []
  if (given.length === wanted) return given
  throw new Fault(
    'lease_invalid',
    `Replica ${replica} of service ${service.name} needs ${wanted} GPUs and was given ${given.length}.`,
  )
}

/**
 * A hash of all that a container keeps for life. CPU and memory count only where the engine cannot change them in
 * place.
 */
export function shapeOf(plan: ReplicaPlan, noLiveUpdate: boolean): string {
  const { image, command, args, env } = plan.service
  const { diskBytes, volumes, inMemory, gpus, readOnlyRoot, restart } = plan
  const fixed = noLiveUpdate ? [plan.cpuMilli, plan.memoryBytes] : []
  const all = [image, command, args, env, diskBytes, volumes, inMemory, gpus, readOnlyRoot, restart]
  return createHash('sha256')
    .update(JSON.stringify([...all, ...fixed]))
    .digest('hex')
}
