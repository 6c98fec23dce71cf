/** What the market and the nodes get of an SDL file: a group and a manifest for each placement. */
import { groupSchema, type Group } from '../protocol/group.ts'
import { manifestSchema, type Expose, type Manifest, type Service } from '../protocol/manifest.ts'
import type { Resources } from '../protocol/resources.ts'
import { isIngress, outerPort, type ExposedPort } from './expose.ts'
import type { Placed, PlannedGroup } from './plan.ts'
import type { Report } from './report.ts'

/** One unit a service: so each has its own endpoints and its own price, also where Akash's 2.1 merges them. */
export function groupOf(planned: PlannedGroup, minNoticeS: number | null): Group {
  const { placement, services, tee } = planned
  return {
    name: placement.name,
    attributes: {
      ...Object.fromEntries(placement.attributes),
      ...(tee !== null && { 'tee/type': tee }),
    },
    signedBy: { anyOf: [...placement.signedBy.anyOf], allOf: [...placement.signedBy.allOf] },
    units: services.map((placed, index) => ({
      id: index + 1,
      resources: resourcesOf(placed),
      count: placed.count,
      endpoints: endpointsOf(placed.service.expose),
      maxRate: String(placed.price.rate),
    })),
    minNoticeS,
  }
}

function resourcesOf({ compute }: Placed): Resources {
  const { cpuMilli, cpuArch, memoryBytes, gpu } = compute
  const volumes = compute.volumes.map((volume) => ({
    name: volume.name,
    bytes: volume.bytes,
    persistent: volume.persistent,
    class: volume.class,
  }))
  return { cpuMilli, cpuArch, memoryBytes, volumes, gpu }
}

function endpointsOf(expose: readonly ExposedPort[]) {
  const count = { sharedHttp: 0, randomPort: 0, leasedIp: 0 }
  for (const exposed of expose) {
    for (const { global, ip } of exposed.to) {
      if (!global) continue
      count[isIngress(exposed) ? 'sharedHttp' : 'randomPort'] += 1
      if (ip !== null) count.leasedIp += 1
    }
  }
  return count
}

export function manifestOf({ placement, services }: PlannedGroup): Manifest {
  return { group: placement.name, services: services.map(serviceOf) }
}

function serviceOf({ service, count }: Placed, index: number): Service {
  const { name, image, command, args, env, params, credentials } = service
  return {
    name,
    image,
    command: command && [...command],
    args: args && [...args],
    env: [...(env ?? [])],
    unit: index + 1,
    count,
    expose: service.expose.flatMap(exposesOf),
    mounts: (params?.mounts ?? []).map(({ volume, path, readOnly }) => ({
      volume,
      path,
      readOnly,
    })),
    credentials: credentials && {
      host: credentials.host,
      username: credentials.username,
      password: credentials.password,
    },
    permissions: [...new Set(params?.permissions)],
    tee: params?.tee ?? null,
  }
}

const GROUP_ONLY = { service: null, global: false, ip: null }

function exposesOf(exposed: ExposedPort): Expose[] {
  const { port, proto, hosts, http, to } = exposed
  const targets = to.length === 0 ? [GROUP_ONLY] : to
  return targets.map(({ service, global, ip }) => ({
    port,
    externalPort: outerPort(exposed),
    proto,
    service,
    global,
    hosts: global ? [...hosts] : [],
    ip,
    http,
  }))
}

/** The limits of the wire, which no single field may know: how many services, how long a text. */
export function checkLimits(
  report: Report,
  planned: PlannedGroup,
  { group, manifest }: { group: Group | undefined; manifest: Manifest | undefined },
): void {
  for (const { path, message } of groupSchema.safeParse(group).error?.issues ?? [])
    report.problem(planned.placement.place, beyond(path, message))
  for (const { path, message } of manifestSchema.safeParse(manifest).error?.issues ?? []) {
    const service = path[0] === 'services' ? planned.services[Number(path[1])]?.service : undefined
    report.problem(service?.place ?? planned.placement.place, beyond(path, message))
  }
}

const beyond = (path: readonly PropertyKey[], message: string) => ({
  message: `a limit is passed at ${path.map(String).join('.')}`,
  allowed: message.toLowerCase(),
})
