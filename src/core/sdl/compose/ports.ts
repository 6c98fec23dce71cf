/** `ports` and `expose` of docker-compose. */
import { composeText } from './text.ts'
import { readList, readMapping, wrong } from '../fields.ts'
import type { Report } from '../report.ts'
import type { Mapping, Tree } from '../yaml-tree.ts'

/** More ports than a service of ours may expose: core/protocol/manifest.ts. */
const MAX_PORTS = 100

export type ComposePort = {
  readonly port: number
  /** The port of the host; null: not published, only for the other services. */
  readonly published: number | null
  readonly proto: 'tcp' | 'udp'
}

export function readPorts(report: Report, { entries }: Mapping): readonly ComposePort[] {
  const published = readList(report, entries.get('ports')).flatMap((item) => readPort(report, item))
  const inside = readList(report, entries.get('expose')).flatMap((item) =>
    readPort(report, item).map((port) => ({ ...port, published: null })),
  )
  const known = new Set(published.map(({ port, proto }) => `${port}/${proto}`))
  return [...published, ...inside.filter(({ port, proto }) => !known.has(`${port}/${proto}`))]
}

/** `[address:][published:]port[/proto]`, ranges too, or a mapping. */
function readPort(report: Report, tree: Tree): ComposePort[] {
  if (tree.kind === 'mapping') return readLongPort(report, tree)
  const text = composeText(report, tree) ?? ''
  const match =
    /^(?:(\[[\da-f:]+\]|\d+\.[\d.]+):)?(?:(\d{1,5})(?:-(\d{1,5}))?:)?(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp))?$/i.exec(
      text,
    )
  if (!match) return notAPort(report, tree)
  const [, address, outFrom, , inFrom, inTo, proto = 'tcp'] = match
  const local = address !== undefined && /^(127\.|\[::1\])/.test(address)
  if (local)
    report.warn(tree.place, { message: 'published on the local machine only: stays internal' })
  const first = Number(inFrom)
  const count = Number(inTo ?? inFrom) - first + 1
  if (count < 1 || count > MAX_PORTS || first < 1 || first + count > 65_536)
    return notAPort(report, tree)
  return Array.from({ length: count }, (_, index) => ({
    port: first + index,
    published: local ? null : Number(outFrom ?? inFrom) + index,
    proto: proto.toLowerCase() === 'udp' ? 'udp' : 'tcp',
  }))
}

function readLongPort(report: Report, tree: Tree): ComposePort[] {
  const known = ['target', 'published', 'protocol', 'mode', 'name', 'app_protocol', 'host_ip']
  const mapping = readMapping(report, tree, { known })
  const text = (key: string) => composeText(report, mapping?.entries.get(key))
  const port = Number(text('target') ?? Number.NaN)
  const published = Number(text('published') ?? port)
  const proto = text('protocol') === 'udp' ? 'udp' : 'tcp'
  return isPort(port) && isPort(published) ? [{ port, published, proto }] : notAPort(report, tree)
}

const isPort = (number: number): boolean =>
  Number.isInteger(number) && number > 0 && number < 65_536

function notAPort(report: Report, tree: Tree): ComposePort[] {
  wrong(report, tree, 'this is no port', { allowed: '1 to 65535', example: '"8080:80"' })
  return []
}
