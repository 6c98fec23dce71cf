/** SDL → docker-compose: to try on one's own machine what is to be deployed. */
import { stringify } from 'yaml'
import { YAML_STYLE } from './yaml-style.ts'
import { composeLiteral } from './text.ts'
import { outerPort, type ExposedPort } from '../expose.ts'
import { HTTP_DEFAULTS } from '../http-options.ts'
import type { Placed } from '../plan.ts'
import type { Sdl } from '../sdl.ts'

/** The text, and one sentence for each thing that compose has no place for. */
export function sdlToCompose(sdl: Sdl): { text: string; notes: readonly string[] } {
  const placed = new Map<string, Placed>()
  const notes = sdl.planned.flatMap(({ placement }) => placementNotes(placement.name, sdl))
  for (const { services, placement } of sdl.planned) {
    for (const one of services) {
      const { name } = one.service
      if (placed.has(name)) notes.push(`${name}: its copies at '${placement.name}' are left out`)
      else placed.set(name, one)
    }
  }
  notes.push(...[...placed.values()].flatMap(serviceNotes))
  const volumes = [...placed.values()].flatMap((one) => persistentOf(one).map(({ name }) => name))
  const file = {
    services: Object.fromEntries([...placed].map(([name, one]) => [name, serviceOf(one)])),
    ...(volumes.length > 0 && { volumes: Object.fromEntries(volumes.map((name) => [name, {}])) }),
  }
  return { text: stringify(file, YAML_STYLE), notes }
}

function placementNotes(name: string, { planned }: Sdl): string[] {
  const group = planned.find(({ placement }) => placement.name === name)
  const { attributes = [], signedBy } = group?.placement ?? {}
  const audited = (signedBy?.anyOf.length ?? 0) + (signedBy?.allOf.length ?? 0) > 0
  return [
    `placement '${name}': its prices are left out`,
    ...(attributes.length > 0 ? [`placement '${name}': its attributes are left out`] : []),
    ...(audited ? [`placement '${name}': signedBy is left out`] : []),
  ]
}

function serviceNotes({ service, compute }: Placed): string[] {
  const { name, expose, params, credentials } = service
  const says = (when: boolean, what: string) => (when ? [`${name}: ${what}`] : [])
  const custom = expose.some(({ http }) => JSON.stringify(http) !== JSON.stringify(HTTP_DEFAULTS))
  return [
    ...says(credentials !== null, 'credentials are left out; use `docker login`'),
    ...says(custom, 'http_options are left out'),
    ...says(
      expose.some(({ hosts }) => hosts.length > 0),
      'host names (accept) are left out',
    ),
    ...says(
      expose.some(({ to }) => to.some(({ ip }) => ip !== null)),
      'IP endpoints are left out',
    ),
    ...says(params?.permissions != null, 'permissions are left out'),
    ...says(params?.tee != null, 'tee is left out'),
    ...says(compute.cpuArch !== null, 'the CPU architecture is left out'),
    ...says(
      compute.volumes.some((volume) => volume.class !== 'ram'),
      'sizes and classes of disks are left out',
    ),
    ...says(
      compute.gpu !== null && compute.gpu.anyOf.some(({ model }) => model !== null),
      'the model of the GPU is left out',
    ),
  ]
}

function serviceOf(placed: Placed) {
  const { service, count } = placed
  const { image, command, args, env, expose } = service
  const ports = expose.filter(isGlobal).map(portText)
  const inside = expose.filter((exposed) => !isGlobal(exposed)).map(insideText)
  const { volumes, tmpfs, shm } = mountsOf(placed)
  return {
    image: composeLiteral(image),
    ...(command && { entrypoint: command.map(composeLiteral) }),
    ...(args && { command: args.map(composeLiteral) }),
    ...(env && env.length > 0 && { environment: env.map(variable) }),
    ...(ports.length > 0 && { ports }),
    ...(inside.length > 0 && { expose: inside }),
    ...(volumes.length > 0 && { volumes }),
    ...(tmpfs.length > 0 && { tmpfs }),
    ...(shm !== null && { shm_size: shm }),
    restart: 'always',
    deploy: {
      ...(count > 1 && { replicas: count }),
      resources: limitsOf(placed),
    },
  }
}

const isGlobal = ({ to }: ExposedPort): boolean => to.some(({ global }) => global)

/** `NAME` alone is empty in SDL; in compose it would be taken from the shell. */
const variable = (item: string): string => composeLiteral(item.includes('=') ? item : `${item}=`)

const suffix = ({ proto }: ExposedPort): string => (proto === 'udp' ? '/udp' : '')

const portText = (exposed: ExposedPort): string =>
  `${outerPort(exposed)}:${exposed.port}${suffix(exposed)}`

const insideText = (exposed: ExposedPort): string => `${exposed.port}${suffix(exposed)}`

const MIB = 2 ** 20

/** Compose counts in powers of 1024. */
const bytes = (amount: number): string => (amount % MIB === 0 ? `${amount / MIB}m` : `${amount}b`)

function limitsOf({ compute }: Placed) {
  const { cpuMilli, memoryBytes, gpu } = compute
  return {
    limits: { cpus: String(cpuMilli / 1000), memory: bytes(memoryBytes) },
    ...(gpu && {
      reservations: { devices: [{ count: gpu.units, capabilities: ['gpu'] }] },
    }),
  }
}

/** Volumes that persist, by the name that compose gives them: each service has its own. */
function persistentOf({ service, compute }: Placed) {
  return (service.params?.mounts ?? []).flatMap((mount) => {
    const volume = compute.volumes.find(({ name }) => name === mount.volume)
    return volume?.persistent ? [{ name: `${service.name}-${volume.name}`, mount }] : []
  })
}

function mountsOf(placed: Placed) {
  const { service, compute } = placed
  const volumes = persistentOf(placed).map(
    ({ name, mount }) => `${name}:${mount.path}${mount.readOnly ? ':ro' : ''}`,
  )
  const tmpfs: string[] = []
  let shm: string | null = null
  for (const { volume, path } of service.params?.mounts ?? []) {
    const found = compute.volumes.find(({ name }) => name === volume)
    if (!found || found.persistent) continue
    if (found.class !== 'ram') volumes.push(path)
    else if (path === '/dev/shm') shm = bytes(found.bytes)
    else tmpfs.push(`${path}:size=${found.bytes}`)
  }
  return { volumes, tmpfs, shm }
}
