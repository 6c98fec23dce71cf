/** Records as tenants see them. */
import type { ReplicaReport } from '../../../core/protocol/lease-control.ts'
import type { Expose, Service } from '../../../core/protocol/manifest.ts'
import type { DeploymentRecord, LeaseRecord } from '../../../io/store/deployment-records.ts'
import type { DeploymentView, LeaseView, ServiceView } from './lease-service.ts'

/** Where leases are reached: `http://<service>.<lease>.<domain>:<port>`. */
export type PublicPlace = {
  readonly domain: string
  readonly port: number
  readonly https: boolean
}

export function deploymentView(
  deployment: DeploymentRecord,
  leases: readonly LeaseRecord[],
  place: PublicPlace,
): DeploymentView {
  const { id, name, rule, createdAt, closedAt, closeReason, sdl } = deployment
  let spentNanoUsd = 0n
  for (const lease of leases) spentNanoUsd += lease.spentNanoUsd
  return {
    id,
    name,
    rule,
    createdAt,
    closedAt,
    closeReason,
    sdl,
    leases: leases.map((lease) => leaseView(lease, place)),
    spentNanoUsd,
  }
}

function leaseView(
  { id, state, node, epoch, billedUntil, spentNanoUsd, doc }: LeaseRecord,
  place: PublicPlace,
): LeaseView {
  return {
    id,
    group: doc.group.name,
    state,
    message: doc.message,
    epoch: doc.ownerEpoch ?? epoch,
    node,
    rate: BigInt(doc.rate),
    startedAt: doc.startedAt,
    billedUntil,
    spentNanoUsd,
    secrets: doc.secrets?.names ?? [],
    services: doc.manifest.services.map((service) =>
      serviceView(service, doc.replicas, hostsOf(id, service, place.domain), place),
    ),
  }
}

function serviceView(
  service: Service,
  replicas: readonly ReplicaReport[],
  hosts: readonly string[],
  { port, https }: PublicPlace,
): ServiceView {
  const scheme = https ? 'https' : 'http'
  const suffix = port === (https ? 443 : 80) ? '' : `:${port}`
  return {
    name: service.name,
    image: service.image,
    count: service.count,
    expose: service.expose,
    urls: hosts.map((host) => `${scheme}://${host}${suffix}`),
    replicas: replicas.filter((replica) => replica.service === service.name),
  }
}

/** HTTP for the world: what Akash's SDL calls a shared endpoint. */
export const isIngress = ({ global, proto, externalPort, ip }: Expose): boolean =>
  global && proto === 'tcp' && externalPort === 80 && ip === null

/**
 * The names under which the ingress serves it, for good: they stay when the lease moves. `domain` is put behind each
 * but the tenant's own.
 */
export function hostsOf(lease: string, service: Service, domain: string): string[] {
  const exposed = service.expose.filter(isIngress)
  if (exposed.length === 0) return []
  const label = lease.slice(lease.indexOf('_') + 1)
  return [`${service.name}.${label}.${domain}`, ...exposed.flatMap(({ hosts }) => hosts)]
}
