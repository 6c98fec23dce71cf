/** `expose`: the ports of a service, and who may reach them. */
import type { HttpOptions } from '../protocol/manifest.ts'
import { need, readFlag, readList, readMapping, readText, readWhole, wrong } from './fields.ts'
import { readHttpOptions } from './http-options.ts'
import { shown, type Report } from './report.ts'
import type { Mapping, Place, Tree } from './yaml-tree.ts'

const MAX_PORT = 65_535
const MAX_HOST_LENGTH = 255
const EXAMPLE = '{ port: 80, to: [{ global: true }] }'

export type Target = {
  readonly place: Place
  /** Only for this service. */
  readonly service: string | null
  readonly global: boolean
  /** A name under `endpoints`. */
  readonly ip: string | null
}

export type ExposedPort = {
  readonly place: Place
  readonly port: number
  /** Null: the same as `port`. */
  readonly as: number | null
  readonly proto: 'tcp' | 'udp'
  readonly hosts: readonly string[]
  readonly http: HttpOptions
  /** None: for the services of the same group. */
  readonly to: readonly Target[]
}

/** The port by which others reach it. */
export const outerPort = ({ port, as }: ExposedPort): number => as ?? port

/** By host name through the ingress; everything else that is global gets a port of its own. */
export const isIngress = (exposed: ExposedPort): boolean =>
  exposed.proto === 'tcp' && outerPort(exposed) === 80

export function readExpose(report: Report, tree: Tree | undefined): readonly ExposedPort[] {
  return readList(report, tree, { example: `- ${EXAMPLE}`, emptyIsUsual: true }).flatMap((item) => {
    const port = readPort(report, item)
    return port ? [port] : []
  })
}

const KEYS = ['port', 'as', 'proto', 'to', 'accept', 'http_options']
const HINTS = {
  global: 'it belongs under `to:`, as in `to: [{ global: true }]`',
  protocol: 'it is called `proto`',
  host: 'host names go into `accept`',
  hosts: 'host names go into `accept`',
}

function readPort(report: Report, tree: Tree): ExposedPort | null {
  const mapping = readMapping(report, tree, { known: KEYS, hints: HINTS, example: EXAMPLE })
  if (!mapping) return null
  const { entries, place } = mapping
  const given = need(report, mapping, 'port', 'port: 80')
  const port = given && readWhole(report, given, { min: 1, max: MAX_PORT, example: 'port: 80' })
  const as = readWhole(report, entries.get('as'), { min: 0, max: MAX_PORT, example: 'as: 80' })
  if (as === 0)
    report.warn(entries.get('as')?.place ?? place, {
      message: "read as no other port than `port`; Akash's Console refuses 0",
    })
  const rest = {
    proto: readProto(report, entries.get('proto')),
    hosts: readHosts(report, entries.get('accept')),
    http: readHttpOptions(report, entries.get('http_options')),
    to: readTargets(report, mapping),
  }
  return port === null ? null : { place, port, as: as === 0 ? null : as, ...rest }
}

function readProto(report: Report, tree: Tree | undefined): 'tcp' | 'udp' {
  const text = readText(report, tree)
  if (text === null || !tree) return 'tcp'
  const proto = text.toLowerCase()
  if (proto !== 'tcp' && proto !== 'udp' && proto !== '') {
    const message = proto.startsWith('http')
      ? 'the protocol of a port is tcp or udp; HTTP is tcp'
      : 'this protocol is unknown'
    wrong(report, tree, message, { allowed: 'tcp, udp', example: 'proto: tcp' })
  } else if (!['tcp', 'udp', 'TCP', 'UDP'].includes(text)) {
    const message = `read as ${proto || 'tcp'}; Akash's Console refuses this spelling`
    report.warn(tree.place, { message, found: shown(tree), allowed: 'tcp, udp' })
  }
  return proto === 'udp' ? 'udp' : 'tcp'
}

function readTargets(report: Report, { entries }: Mapping): readonly Target[] {
  const example = 'to: [{ global: true }]'
  return readList(report, entries.get('to'), { example }).flatMap((item) => {
    const known = ['service', 'global', 'ip']
    const hints = { http_options: 'it is ignored here, as on Akash; write it beside `port`' }
    const target = readMapping(report, item, { known, hints, example: '{ global: true }' })
    if (!target) return []
    const service = readText(report, target.entries.get('service')) || null
    const ip = readText(report, target.entries.get('ip')) || null
    const global = readFlag(report, target.entries.get('global'))
    if (ip !== null && !global)
      report.problem(target.place, {
        message: 'an IP endpoint is always global',
        found: `ip: ${ip} without global: true`,
        example: `{ global: true, ip: ${ip} }`,
      })
    return [{ place: target.place, service, global, ip }]
  })
}

/** DNS-1123: labels of letters, digits and dashes. Case does not count in host names. */
function readHosts(report: Report, tree: Tree | undefined): readonly string[] {
  const hosts = readList(report, tree, { example: 'accept: [example.com]' }).flatMap((item) => {
    const text = readText(report, item) ?? ''
    const host = text.toLowerCase()
    const labels = host.length <= MAX_HOST_LENGTH ? host.split('.') : ['']
    if (!labels.every((label) => /^[a-z0-9-]+$/.test(label) && !/^-|-$/.test(label))) {
      wrong(report, item, 'this is no host name', {
        allowed: `a plain host name of at most ${MAX_HOST_LENGTH} characters`,
        example: 'accept: [www.example.com]',
      })
      return []
    }
    if (host !== text)
      report.warn(item.place, { message: `read as ${host}; Akash's CLI refuses upper case` })
    return [host]
  })
  const unique = [...new Set(hosts)]
  if (tree && unique.length < hosts.length)
    report.warn(tree.place, { message: "a host name is named twice; Akash's CLI refuses that" })
  return unique
}
