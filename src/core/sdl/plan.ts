/** What runs where: the sections of an SDL file checked against each other and joined, one group a placement. */
import type { ComputeProfile } from './compute.ts'
import type { DeploymentEntry, SdlDocument } from './document.ts'
import { outerPort, type ExposedPort } from './expose.ts'
import type { PlacementProfile } from './placement.ts'
import type { Price } from './price.ts'
import { short, type Report } from './report.ts'
import type { Params, ServiceEntry } from './services.ts'
import { keyPlace, type Place } from './yaml-tree.ts'

/** A service at a placement. */
export type Placed = {
  readonly place: Place
  readonly service: ServiceEntry
  readonly compute: ComputeProfile
  readonly price: Price
  readonly count: number
}

export type PlannedGroup = {
  readonly placement: PlacementProfile
  /** Sorted by name. */
  readonly services: readonly Placed[]
  /** The kind of TEE that all services with one ask for. */
  readonly tee: Params['tee']
}

/** Akash's chain takes no more in a group: 50 times the largest unit. */
const MAX_GROUP_CPU_MILLI = 50 * 384_000
const MAX_GROUP_GPUS = 50 * 24
const MAX_GROUP_MEMORY = 50 * 2 * 2 ** 40

/** Groups, sorted by the placement's name. What does not fit is reported. */
export function planGroups(report: Report, document: SdlDocument): readonly PlannedGroup[] {
  const services = new Map<string, Placed[]>()
  for (const entry of document.deployments) {
    const placed = place(report, document, entry)
    if (!placed) continue
    const together = services.get(entry.placement)
    if (together) together.push(placed)
    else services.set(entry.placement, [placed])
  }
  const groups = [...services].flatMap(([name, placed]) => {
    const placement = document.placements.get(name)
    return placement ? [planGroup(report, placement, placed)] : []
  })
  if (document.deployments.length === 0)
    report.problem(NOWHERE, { message: 'nothing is deployed', example: DEPLOYED })
  warnUnused(report, document)
  checkHosts(report, groups)
  checkEndpoints(report, document, groups)
  warnUnreachable(report, document, groups)
  return groups.toSorted((a, b) => (a.placement.name < b.placement.name ? -1 : 1))
}

const NOWHERE: Place = { offset: 0, keyOffset: 0, parent: null, key: '' }
const DEPLOYED = 'deployment: { web: { anywhere: { profile: web, count: 1 } } }'

function place(report: Report, document: SdlDocument, entry: DeploymentEntry): Placed | null {
  const find = <T>(kind: string, name: string, among: ReadonlyMap<string, T>): T | null => {
    const found = among.get(name)
    if (found !== undefined) return found
    report.problem(entry.place, {
      message: `there is no ${kind} '${short(name)}'`,
      allowed: short([...among.keys()].join(', ')) || 'none is defined',
    })
    return null
  }
  const service = find('service', entry.service, document.services)
  const compute = find('compute profile', entry.profile, document.compute)
  const placement = find('placement', entry.placement, document.placements)
  const price = placement?.pricing.get(entry.profile)
  if (placement && compute && !price)
    report.problem(placement.pricingPlace, {
      message: `there is no price for the profile '${short(entry.profile)}'`,
      example: `${short(entry.profile)}: { denom: usd, amount: 0.50 }`,
    })
  if (!service || !compute || !price) return null
  const placed = { place: entry.place, service, compute, price, count: entry.count }
  return { ...placed, compute: checkVolumes(report, placed) }
}

/** Mounts lead to volumes, and what persists is mounted. A volume with an alias takes the name by which it is mounted. */
function checkVolumes(report: Report, { service, compute }: Placed): ComputeProfile {
  const mounted = new Set(service.params?.mounts.map(({ volume }) => volume))
  const volumes = compute.volumes.map((volume) =>
    volume.alias !== null && mounted.has(volume.alias) ? { ...volume, name: volume.alias } : volume,
  )
  for (const { place: at, volume } of service.params?.mounts ?? []) {
    const found = volumes.find(({ name }) => name === volume)
    if (!found)
      report.problem(keyPlace(at), {
        message: `the compute profile '${short(compute.name)}' has no volume '${short(volume)}'`,
        allowed: volumes.map(({ name }) => short(name)).join(', '),
        example: `storage: [{ size: 1Gi }, { name: ${short(volume)}, size: 5Gi }]`,
      })
    else if (found.alias === volume)
      report.warn(keyPlace(at), {
        message: "Akash's CLI calls a volume that stands outside of a list 'default'",
        example: `storage: [{ name: ${volume}, size: … }]`,
      })
  }
  for (const { name, persistent } of volumes) {
    if (!persistent || mounted.has(name)) continue
    const words = {
      message: `the persistent volume '${short(name)}' is mounted nowhere`,
      example: `params: { storage: { ${short(name)}: { mount: /data } } }`,
    }
    // Akash's CLI looks for any mount at all, so files with another one pass there: the volume is paid for and unused.
    if (mounted.size > 0) report.warn(service.place, words)
    else report.problem(service.place, words)
  }
  return { ...compute, volumes }
}

function planGroup(
  report: Report,
  placement: PlacementProfile,
  placed: readonly Placed[],
): PlannedGroup {
  const services = placed.toSorted((a, b) => (a.service.name < b.service.name ? -1 : 1))
  const sum = (of: (one: Placed) => number) =>
    services.reduce((total, one) => total + one.count * of(one), 0)
  const over = (what: string, found: number, max: number) => {
    if (found > max)
      report.problem(placement.place, {
        message: `all services of this placement together want too much ${what}`,
        found: String(found),
        allowed: `at most ${max}`,
      })
  }
  over(
    'CPU (thousandths)',
    sum(({ compute }) => compute.cpuMilli),
    MAX_GROUP_CPU_MILLI,
  )
  over(
    'GPUs',
    sum(({ compute }) => compute.gpu?.units ?? 0),
    MAX_GROUP_GPUS,
  )
  over(
    'memory (bytes)',
    sum(({ compute }) => compute.memoryBytes),
    MAX_GROUP_MEMORY,
  )
  return { placement, services, tee: planTee(report, services) }
}

function planTee(report: Report, services: readonly Placed[]): Params['tee'] {
  let tee: Params['tee'] = null
  for (const { service, compute } of services) {
    const asked = service.params?.tee ?? null
    if (asked === 'cpu-gpu' && !compute.gpu)
      report.problem(service.place, {
        message: 'tee: cpu-gpu needs a GPU, and the compute profile has none',
        example: 'tee: cpu',
      })
    if (asked !== null && tee !== null && asked !== tee)
      report.problem(service.place, {
        message: 'services of one placement ask for different kinds of TEE',
        found: `${tee} and ${asked}`,
        allowed: 'one kind',
      })
    tee ??= asked
  }
  return tee
}

function warnUnused(report: Report, { services, deployments, placements }: SdlDocument): void {
  const deployed = new Set(deployments.map(({ service }) => service))
  for (const [name, { place: at }] of services)
    if (!deployed.has(name))
      report.warn(keyPlace(at), {
        message: `the service '${name}' is not under 'deployment', so it does not run`,
      })
  const denoms = new Set(
    [...placements.values()].flatMap(({ pricing }) =>
      [...pricing.values()].map(({ denom }) => denom),
    ),
  )
  const [first] = placements.values()
  if (first && denoms.size > 1)
    report.warn(first.pricingPlace, {
      message: 'Akash takes one denomination a deployment',
      found: short([...denoms].join(', ')),
    })
}

const exposures = (groups: readonly PlannedGroup[]) =>
  groups.flatMap(({ services }) =>
    services.flatMap(({ service }) => service.expose.map((exposed) => ({ service, exposed }))),
  )

/** A host name leads to one place. */
function checkHosts(report: Report, groups: readonly PlannedGroup[]): void {
  const seen = new Set<string>()
  for (const { exposed } of exposures(groups)) {
    for (const host of exposed.hosts) {
      if (seen.has(host))
        report.problem(exposed.place, {
          message: 'a host name can lead to one place only',
          found: `${host}, for the second time`,
        })
      seen.add(host)
    }
    if (exposed.hosts.length > 0 && exposed.to.length > 1)
      report.warn(exposed.place, {
        message: "Akash's CLI refuses host names on a port with several `to` entries",
      })
  }
}

function checkEndpoints(
  report: Report,
  { endpoints }: SdlDocument,
  groups: readonly PlannedGroup[],
): void {
  const used = new Set<string>()
  const ports = new Set<string>()
  for (const { exposed } of exposures(groups)) {
    for (const { ip, place: at } of exposed.to) {
      if (ip === null) continue
      if (!endpoints.has(ip))
        report.problem(at, {
          message: `there is no endpoint '${short(ip)}'`,
          example: `endpoints: { ${short(ip)}: { kind: ip } }`,
        })
      else if (ports.has(portOf(ip, exposed)))
        report.problem(at, {
          message: `two services want port ${outerPort(exposed)}/${exposed.proto} of the IP '${ip}'`,
          example: 'as: 8443',
        })
      used.add(ip)
      ports.add(portOf(ip, exposed))
    }
  }
  for (const [name, at] of endpoints)
    if (!used.has(name))
      report.problem(keyPlace(at), {
        message: `the endpoint '${short(name)}' is used by no service`,
        example: `to: [{ global: true, ip: ${short(name)} }]`,
      })
}

const portOf = (ip: string, exposed: ExposedPort): string =>
  `${ip} ${outerPort(exposed)} ${exposed.proto}`

function warnUnreachable(
  report: Report,
  { services }: SdlDocument,
  groups: readonly PlannedGroup[],
): void {
  const targets = exposures(groups).flatMap(({ exposed }) => exposed.to)
  for (const { service, place: at } of targets)
    if (service !== null && !services.has(service))
      report.warn(at, { message: `there is no service '${short(service)}' to reach this port` })
  if (groups.length > 0 && !targets.some(({ global }) => global))
    report.warn(NOWHERE, {
      message: "nothing can be reached from outside; Akash's CLI refuses that",
      example: 'expose: [{ port: 80, to: [{ global: true }] }]',
    })
}
