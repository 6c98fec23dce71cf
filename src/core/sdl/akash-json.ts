/**
 * The manifest and the group specifications that Akash's own tools make of a file, byte for byte, quirks included:
 * it is how the parser is held to Akash's fixtures, and what a tenant needs who deploys there too.
 */
import type { HttpOptions } from '../protocol/manifest.ts'
import type { GpuModel } from '../protocol/resources.ts'
import { isIngress, type ExposedPort, type Target } from './expose.ts'
import type { Placed, PlannedGroup } from './plan.ts'
import { chainAmount } from './price.ts'
import type { Sdl } from './sdl.ts'
import type { Credentials, Params } from './services.ts'

/** `manifest.json`. */
export const akashManifestJson = (sdl: Sdl): string => goJson(manifests(sdl))

/** `group-specs.json`. */
export const akashGroupsJson = (sdl: Sdl): string => goJson(groupSpecs(sdl))

/** Go's json.MarshalIndent: these five characters are escaped. */
const goJson = (value: unknown): string =>
  JSON.stringify(value, null, 2).replace(
    /[<>&\u2028\u2029]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

const value = (amount: number) => ({ val: String(amount) })
const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list)

function manifests(sdl: Sdl) {
  const numbers = endpointNumbers(sdl)
  return sdl.planned.map((group) => ({
    name: group.placement.name,
    services: group.services.map((placed) => {
      const { name, image, command, args, env, params, credentials } = placed.service
      const expose = exposesOf(placed, numbers)
      return {
        name,
        image,
        command,
        args,
        env,
        resources: resourcesOf(placed, unitOf(sdl, group, placed), expose.flatMap(endpointsOf)),
        count: placed.count,
        expose: expose.map(exposeJson),
        ...(params && { params: paramsJson(params) }),
        credentials: credentials && credentialsJson(sdl, credentials),
      }
    }),
  }))
}

function groupSpecs(sdl: Sdl) {
  const numbers = endpointNumbers(sdl)
  return sdl.planned.map((group) => {
    const { placement, services, tee } = group
    const attributes = [
      ...placement.attributes,
      ...(tee === null ? [] : [['tee/type', tee] as const]),
    ]
    return {
      name: placement.name,
      requirements: {
        signed_by: {
          all_of: orNull(placement.signedBy.allOf),
          any_of: orNull(placement.signedBy.anyOf),
        },
        attributes: orNull(
          attributes
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, text]) => ({ key, value: text })),
        ),
      },
      resources: merged(sdl, services).map((together, index) =>
        unitJson(together, index + 1, numbers),
      ),
    }
  })
}

/** From 2.1 on, services of one profile share a unit; in 2.0 each has its own. */
function merged({ document }: Sdl, services: readonly Placed[]): readonly (readonly Placed[])[] {
  if (document.version === '2.0') return services.map((placed) => [placed])
  const byProfile = new Map<string, Placed[]>()
  for (const placed of services) {
    const together = byProfile.get(placed.compute.name)
    if (together) together.push(placed)
    else byProfile.set(placed.compute.name, [placed])
  }
  return [...byProfile.values()]
}

const unitOf = (sdl: Sdl, { services }: PlannedGroup, placed: Placed): number =>
  merged(sdl, services).findIndex((together) => together.includes(placed)) + 1

function unitJson(together: readonly Placed[], id: number, numbers: ReadonlyMap<string, number>) {
  const [first] = together
  if (!first) return null
  const endpoints = together.flatMap((one) => exposesOf(one, numbers).flatMap(endpointsOf))
  const inOrder =
    together.length === 1
      ? endpoints
      : endpoints.toSorted((a, b) => a.sequence_number - b.sequence_number)
  return {
    resource: resourcesOf(first, id, inOrder),
    count: together.reduce((sum, { count }) => sum + count, 0),
    price: { denom: first.price.denom, amount: chainAmount(first.price.amount) },
  }
}

type Exposure = {
  readonly exposed: ExposedPort
  readonly to: Pick<Target, 'service' | 'global' | 'ip'>
  readonly number: number
}

/** One for each `to`; sorted by service, port and protocol, the world first. */
function exposesOf({ service }: Placed, numbers: ReadonlyMap<string, number>): Exposure[] {
  const inside = { service: null, global: false, ip: null }
  const all = service.expose.flatMap((exposed) =>
    (exposed.to.length === 0 ? [inside] : exposed.to).map((to) => ({
      exposed,
      to,
      number: to.ip === null ? 0 : (numbers.get(to.ip) ?? 0),
    })),
  )
  return all.toSorted(
    (a, b) =>
      order(a.to.service ?? '', b.to.service ?? '') ||
      a.exposed.port - b.exposed.port ||
      order(a.exposed.proto, b.exposed.proto) ||
      Number(b.to.global) - Number(a.to.global),
  )
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function exposeJson({ exposed, to, number }: Exposure) {
  return {
    port: exposed.port,
    externalPort: exposed.as ?? 0,
    proto: exposed.proto.toUpperCase(),
    service: to.service ?? '',
    global: to.global,
    hosts: orNull(exposed.hosts),
    httpOptions: httpJson(exposed.http),
    ip: to.ip ?? '',
    endpointSequenceNumber: number,
  }
}

function httpJson(http: HttpOptions) {
  return {
    maxBodySize: http.maxBodyBytes,
    readTimeout: http.readTimeoutMs,
    sendTimeout: http.sendTimeoutMs,
    nextTries: http.nextTries,
    nextTimeout: http.nextTimeoutMs,
    nextCases: http.nextCases,
    ...(http.proxyBufferBytes !== null && { proxyBufferSize: http.proxyBufferBytes }),
  }
}

type Endpoint = { readonly kind?: number; readonly sequence_number: number }

/** Kinds: 0, left out, is the shared HTTP ingress; 1 a random port; 2 a leased IP. */
function endpointsOf({ exposed, to, number }: Exposure): Endpoint[] {
  if (!to.global) return []
  const kind = isIngress(exposed) ? {} : { kind: 1 }
  const port = { ...kind, sequence_number: 0 }
  return to.ip === null ? [port] : [port, { kind: 2, sequence_number: number }]
}

/**
 * Numbers of the IP endpoints, sorted by name. Go counts each use, and ports for other services too, and the last
 * count of a name is its number.
 */
function endpointNumbers({ document }: Sdl): ReadonlyMap<string, number> {
  const deployed = new Set(document.deployments.map(({ service }) => service))
  const uses = [...deployed]
    .flatMap((name) => document.services.get(name)?.expose ?? [])
    .flatMap(({ to }) => to)
    .filter(({ global, ip }) => !global || ip !== null)
    .map(({ ip }) => ip ?? '')
  return new Map(uses.toSorted(order).map((name, index) => [name, index + 1]))
}

function resourcesOf({ compute }: Placed, id: number, endpoints: readonly Endpoint[]) {
  const { cpuMilli, cpuArch, memoryBytes, volumes, gpu } = compute
  const arch = cpuArch === null ? {} : { attributes: [{ key: 'arch', value: cpuArch }] }
  return {
    id,
    cpu: { units: value(cpuMilli), ...arch },
    memory: { size: value(memoryBytes) },
    storage: volumes.map(({ name, bytes, attributes }) => ({
      name,
      size: value(bytes),
      ...(attributes && {
        attributes: [
          ...(attributes.class === null ? [] : [{ key: 'class', value: attributes.class }]),
          { key: 'persistent', value: String(attributes.persistent) },
        ],
      }),
    })),
    gpu: {
      units: value(gpu?.units ?? 0),
      ...(gpu && { attributes: gpu.anyOf.map(gpuKey).toSorted(order).map(asTrue) }),
    },
    endpoints,
  }
}

const asTrue = (key: string) => ({ key, value: 'true' })

function gpuKey({ vendor, model, ramBytes, interface: link }: GpuModel): string {
  const ram = ramBytes === null ? '' : `/ram/${Math.floor(ramBytes / 2 ** 30)}Gi`
  return `vendor/${vendor}/model/${model ?? '*'}${ram}${link === null ? '' : `/interface/${link}`}`
}

function paramsJson({ mounts, permissions, tee }: Params) {
  return {
    storage: orNull(
      mounts.map(({ volume, path, readOnly }) => ({ name: volume, mount: path, readOnly })),
    ),
    ...(permissions && { permissions: permissions.length === 0 ? {} : { read: permissions } }),
    ...(tee !== null && { tee: { type: tee, attestation: true } }),
  }
}

/** Go's 2.0 builder leaves the email out. */
function credentialsJson({ document }: Sdl, { host, email, username, password }: Credentials) {
  return { host, email: document.version === '2.0' ? '' : email, username, password }
}
