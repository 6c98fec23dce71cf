/** docker-compose → SDL. The result is always an SDL file that `readSdl` takes; the notes say what it leaves behind. */
import { stringify } from 'yaml'
import { YAML_STYLE } from './yaml-style.ts'
import { readComposeFile, type ComposeService } from './file.ts'
import type { ComposeMount } from './mounts.ts'
import type { ComposePort } from './ports.ts'
import { sizeText } from '../quantity.ts'
import { Report, type Remark } from '../report.ts'
import { readSdl } from '../sdl.ts'
import { parseYaml, type Tree } from '../yaml-tree.ts'

/** What compose leaves open. Ceilings, so that the market can answer; the tenant sets better ones. */
const DEFAULTS = {
  cpuMilli: 500,
  memory: '512Mi',
  disk: '1Gi',
  volume: '10Gi',
  memoryVolume: '64Mi',
  usdPerHour: '0.10',
  usdPerHourWithGpu: '4.00',
}
const PLACEMENT = 'anywhere'

export type Conversion =
  | { readonly text: string; readonly notes: readonly Remark[] }
  | { readonly problems: readonly Remark[]; readonly notes: readonly Remark[] }

export function composeToSdl(text: string, fileName: string): Conversion {
  const { tree, lines, faults } = parseYaml(text)
  const report = new Report(fileName, lines)
  for (const { place, message } of faults) report.problem(place, { message })
  const services = faults.length > 0 ? [] : readComposeFile(report, tree)
  if (services.length === 0 && report.problems.length === 0)
    report.problem(tree.place, { message: 'there is no service to convert' })
  if (report.problems.length > 0) return { problems: report.problems, notes: report.warnings }
  const sdl = sdlOf(report, tree, services)
  const reading = readSdl(sdl, 'the result')
  const notes = report.warnings
  return 'sdl' in reading ? { text: sdl, notes } : { problems: reading.problems, notes }
}

function sdlOf(report: Report, tree: Tree, services: readonly ComposeService[]): string {
  const names = new Map(services.map((service) => [service.name, nameOf(report, service)]))
  const entries = services.map((service) => ({
    service,
    name: names.get(service.name) ?? service.name,
  }))
  const section = <T>(of: (entry: (typeof entries)[number]) => T) =>
    Object.fromEntries(entries.map((entry) => [entry.name, of(entry)]))
  const file = {
    version: '2.0',
    services: section(({ service }) => serviceOf(report, service, services, names)),
    profiles: {
      compute: section(({ service }) => ({ resources: resourcesOf(service) })),
      placement: { [PLACEMENT]: { pricing: section(({ service }) => priceOf(service)) } },
    },
    deployment: section(({ service, name }) => ({
      [PLACEMENT]: { profile: name, count: service.copies },
    })),
  }
  warnOfSharing(report, services)
  const { usdPerHour, usdPerHourWithGpu } = DEFAULTS
  report.warn(tree.place, {
    message: `compose has no prices: a copy may cost $${usdPerHour} an hour, with a GPU $${usdPerHourWithGpu}`,
    allowed: 'any other ceiling: it says only whose bids are too dear',
  })
  return stringify(file, YAML_STYLE)
}

function warnOfSharing(report: Report, services: readonly ComposeService[]): void {
  const owners = new Map<string, string>()
  for (const { name, place, mounts } of services) {
    for (const volume of new Set(mounts.map((mount) => mount.volume))) {
      const owner = volume === null ? undefined : owners.get(volume)
      if (owner !== undefined)
        report.warn(place, {
          message: `the volume ${volume} is shared with ${owner}: each service gets one of its own`,
        })
      else if (volume !== null) owners.set(volume, name)
    }
  }
}

/** Names become host names: `my_app` is written my-app, and what names it in a variable must follow. */
function nameOf(report: Report, { name, place }: ComposeService): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '')
  const better = plain === '' ? 'service' : plain
  if (better !== name)
    report.warn(place, {
      message: `renamed to ${better}: change it wherever a variable names its host`,
      found: name,
    })
  return better
}

function serviceOf(
  report: Report,
  service: ComposeService,
  all: readonly ComposeService[],
  names: ReadonlyMap<string, string>,
) {
  const { image, entrypoint, command, env, mounts } = service
  const expose = exposeOf(report, service, all, names)
  const storage = Object.fromEntries(
    volumesOf(service).map(({ name, mount }) => [
      name,
      { mount: mount.path, ...(mount.readOnly && { readOnly: true }) },
    ]),
  )
  return {
    image,
    ...(entrypoint && entrypoint.length > 0 && { command: entrypoint }),
    ...(command && command.length > 0 && { args: command }),
    ...(env.length > 0 && { env }),
    ...(expose.length > 0 && { expose }),
    ...((mounts.length > 0 || service.shmBytes !== null) && { params: { storage } }),
  }
}

/**
 * Published ports go to the world. Every port goes to the services that depend on this one, or to all others, and
 * under its own number: they know nothing of the published one.
 */
function exposeOf(
  report: Report,
  service: ComposeService,
  all: readonly ComposeService[],
  names: ReadonlyMap<string, string>,
) {
  const others = all.filter(({ name }) => name !== service.name)
  const dependents = others.filter(({ dependsOn }) => dependsOn.includes(service.name))
  const near = (dependents.length > 0 ? dependents : others).map(({ name }) => ({
    service: names.get(name) ?? name,
  }))
  const ports = service.ports.length > 0 ? service.ports : usualPorts(service.image)
  if (dependents.length > 0 && service.ports.length === 0)
    report.warn(service.place, {
      message:
        ports.length === 0
          ? 'other services depend on it, and it names no port: add the port under `expose`'
          : 'its port is taken from what the image usually listens on',
    })
  warnOfRandomPort(report, service)
  return ports.flatMap(({ port, published, proto }) => {
    const inside = { port, ...(proto === 'udp' && { proto }) }
    const world = { global: true }
    if (published === port) return [{ ...inside, to: [world, ...near] }]
    const within = near.length === 0 && published !== null ? [] : [{ ...inside, to: near }]
    return published === null ? within : [{ ...inside, as: published, to: [world] }, ...within]
  })
}

function warnOfRandomPort(report: Report, { ports, place }: ComposeService): void {
  const web = ports.filter(({ published, proto }) => published !== null && proto === 'tcp')
  if (web.length > 0 && !web.some(({ published }) => published === 80))
    report.warn(place, {
      message: 'none of its ports is published as 80, so it gets ports and no URL of its own',
      example: 'as: 80',
    })
}

/** What images that are often depended on listen on. */
const USUAL: Readonly<Record<string, number>> = {
  postgres: 5432,
  mysql: 3306,
  mariadb: 3306,
  redis: 6379,
  valkey: 6379,
  mongo: 27_017,
  rabbitmq: 5672,
  memcached: 11_211,
  elasticsearch: 9200,
}

function usualPorts(image: string): ComposePort[] {
  const name = /([^/:@]+)(?:[:@].*)?$/.exec(image)?.[1] ?? ''
  const port = Object.hasOwn(USUAL, name) ? USUAL[name] : undefined
  return port === undefined ? [] : [{ port, published: null, proto: 'tcp' }]
}

type NamedVolume = { readonly name: string; readonly mount: ComposeMount }

/** One volume for each mount, as SDL has it; shared memory is one too. */
function volumesOf({ mounts, shmBytes }: ComposeService): NamedVolume[] {
  const shm = { volume: null, path: '/dev/shm', readOnly: false, bytes: shmBytes }
  const byPath = new Map([...mounts, ...(shmBytes === null ? [] : [shm])].map((m) => [m.path, m]))
  const taken = new Set(['default'])
  return [...byPath.values()].map((mount) => {
    const wanted = mount.volume ?? 'memory'
    let name = wanted
    for (let next = 2; taken.has(name); next++) name = `${wanted}-${next}`
    taken.add(name)
    return { name, mount }
  })
}

function resourcesOf(service: ComposeService) {
  const { cpuMilli, memoryBytes, gpus } = service
  const volumes = volumesOf(service).map(({ name, mount }) =>
    mount.volume === null
      ? {
          name,
          size: mount.bytes === null ? DEFAULTS.memoryVolume : sizeText(mount.bytes),
          attributes: { persistent: false, class: 'ram' },
        }
      : { name, size: DEFAULTS.volume, attributes: { persistent: true, class: 'default' } },
  )
  return {
    cpu: { units: (cpuMilli ?? DEFAULTS.cpuMilli) / 1000 },
    memory: { size: memoryBytes === null ? DEFAULTS.memory : sizeText(memoryBytes) },
    storage: [{ size: DEFAULTS.disk }, ...volumes],
    ...(gpus > 0 && { gpu: { units: gpus, attributes: { vendor: { nvidia: null } } } }),
  }
}

function priceOf({ gpus }: ComposeService) {
  const amount = gpus > 0 ? DEFAULTS.usdPerHourWithGpu : DEFAULTS.usdPerHour
  return { denom: 'usd/hour', amount: Number(amount) }
}
