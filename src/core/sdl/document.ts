/** A whole SDL file, section by section; whether the sections fit each other is `plan.ts`'s question. */
import type { NanoUsd } from '../base/money.ts'
import { readComputeProfiles, type ComputeProfile } from './compute.ts'
import {
  need,
  readAnyMapping,
  readList,
  readMapping,
  readScalar,
  readText,
  readTexts,
  readWhole,
  wrong,
} from './fields.ts'
import { readPlacementProfiles, type PlacementProfile } from './placement.ts'
import { short, type Report } from './report.ts'
import { readServices, type ServiceEntry } from './services.ts'
import { keyPlace, type Mapping, type Place, type Tree } from './yaml-tree.ts'

export type Version = '2.0' | '2.1'

/** `count` copies of a service, by a compute profile, at a placement. */
export type DeploymentEntry = {
  readonly place: Place
  readonly service: string
  readonly placement: string
  readonly profile: string
  readonly count: number
}

export type SdlDocument = {
  readonly version: Version
  readonly services: ReadonlyMap<string, ServiceEntry>
  readonly compute: ReadonlyMap<string, ComputeProfile>
  readonly placements: ReadonlyMap<string, PlacementProfile>
  readonly deployments: readonly DeploymentEntry[]
  /** IP endpoints, by name. */
  readonly endpoints: ReadonlyMap<string, Place>
  readonly minNoticeS: number | null
}

const SECTIONS = [
  'version',
  'services',
  'profiles',
  'deployment',
  'endpoints',
  'include',
  'reclamation',
]

const HINTS = {
  volumes: 'volumes are named in a compute profile, under `storage`',
  networks: 'services of one group reach each other by name',
}

/** Null when there is nothing to go on with; what is missing in it was reported. */
export function readDocument(report: Report, tree: Tree, usdPerAkt: NanoUsd): SdlDocument | null {
  const example = 'version: "2.0"'
  const file = readMapping(report, tree, { known: SECTIONS, strict: true, hints: HINTS, example })
  if (!file) {
    if (tree.kind === 'scalar' && report.problems.length === 0)
      report.problem(tree.place, { message: 'the file is empty', example })
    return null
  }
  const version = need(report, file, 'version', example)
  const services = need(report, file, 'services', 'services: { web: { image: nginx } }')
  const profiles = need(report, file, 'profiles', 'profiles: { compute: …, placement: … }')
  const deployment = need(report, file, 'deployment', DEPLOYMENT)
  readInclude(report, file.entries.get('include'))
  const sections = profiles && readProfiles(report, profiles, usdPerAkt)
  return {
    version: version ? readVersion(report, version) : '2.0',
    services: services ? readServices(report, services) : new Map(),
    compute: sections?.compute ?? new Map(),
    placements: sections?.placements ?? new Map(),
    deployments: deployment ? readDeployments(report, deployment) : [],
    endpoints: readEndpoints(report, file.entries.get('endpoints')),
    minNoticeS: readReclamation(report, file),
  }
}

function readProfiles(report: Report, tree: Tree, usdPerAkt: NanoUsd) {
  const mapping = readMapping(report, tree, { known: ['compute', 'placement'] })
  if (!mapping) return null
  const compute = need(report, mapping, 'compute', 'compute: { web: { resources: … } }')
  const placement = need(report, mapping, 'placement', 'placement: { anywhere: { pricing: … } }')
  return {
    compute: compute ? readComputeProfiles(report, compute) : new Map<string, ComputeProfile>(),
    placements: placement
      ? readPlacementProfiles(report, placement, usdPerAkt)
      : new Map<string, PlacementProfile>(),
  }
}

/** As tolerant as Akash's CLI: `2`, `v2.0` and `2.0.0` are 2.0; whatever is later than 2.1 is read as 2.1. */
function readVersion(report: Report, tree: Tree): Version {
  const scalar = readScalar(report, tree)
  const match = /^v?(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?$/.exec(scalar?.text.trim() ?? '')
  const [major = -1, minor = 0, patch = 0] = match
    ? match.slice(1).map((part) => Number(part ?? 0))
    : []
  const first = major === 2 && minor === 0 && patch === 0
  const later = major > 2 || (major === 2 && minor >= 1)
  if (!scalar || (!first && !later)) {
    if (scalar)
      wrong(report, tree, 'this version of SDL is not known', {
        allowed: '"2.0", "2.1"',
        example: 'version: "2.0"',
      })
    return '2.0'
  }
  const version = first ? '2.0' : '2.1'
  if (!scalar.quoted || scalar.text !== version)
    report.warn(tree.place, {
      message: `read as version ${version}; Akash's Console takes no other text than "2.0" and "2.1"`,
      found: short(scalar.text),
      example: `version: "${version}"`,
    })
  return version
}

const DEPLOYMENT = 'deployment: { web: { anywhere: { profile: web, count: 1 } } }'
/** What one unit of a group may hold: core/protocol/group.ts. */
const MAX_COUNT = 1000

function readDeployments(report: Report, tree: Tree): readonly DeploymentEntry[] {
  const entries: DeploymentEntry[] = []
  for (const [service, placements] of readAnyMapping(report, tree, DEPLOYMENT)?.entries ?? []) {
    for (const [placement, value] of readAnyMapping(report, placements, DEPLOYMENT)?.entries ??
      []) {
      const known = ['profile', 'count']
      const mapping = readMapping(report, value, { known, example: '{ profile: web, count: 1 }' })
      const profile = mapping && need(report, mapping, 'profile', 'profile: web')
      const given = mapping && need(report, mapping, 'count', 'count: 1')
      const range = { min: 1, max: MAX_COUNT, example: 'count: 1' }
      const count = given && readWhole(report, given, range)
      if (!profile || count === null) continue
      const name = readText(report, profile) ?? ''
      entries.push({ place: value.place, service, placement, profile: name, count })
    }
  }
  return entries
}

function readEndpoints(report: Report, tree: Tree | undefined): ReadonlyMap<string, Place> {
  const endpoints = new Map<string, Place>()
  const example = 'endpoints: { myip: { kind: ip } }'
  for (const [name, value] of (tree && readAnyMapping(report, tree, example))?.entries ?? []) {
    if (!/^[a-z]+[-_0-9a-z]+$/.test(name))
      report.problem(keyPlace(value.place), {
        message: 'this cannot be the name of an endpoint',
        found: short(name),
        allowed: 'two or more lower-case letters, digits, - and _; a letter first',
        example,
      })
    const mapping = readMapping(report, value, { known: ['kind'], example: 'kind: ip' })
    const kind = mapping && need(report, mapping, 'kind', 'kind: ip')
    if (kind && readText(report, kind) !== 'ip')
      wrong(report, kind, 'this kind of endpoint is not known', {
        allowed: 'ip',
        example: 'kind: ip',
      })
    endpoints.set(name, value.place)
  }
  return endpoints
}

function readInclude(report: Report, tree: Tree | undefined): void {
  readTexts(report, tree)
  if (tree && readList(report, tree).length > 0)
    report.warn(keyPlace(tree.place), { message: 'included files are not read, as on Akash' })
}

const SECONDS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  μs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
}
const MAX_NOTICE_S = 366 * 24 * 3600

/** `min_window`: `24h`, and Go's `1h30m` too. Whole seconds, rounded up. */
function readReclamation(report: Report, file: Mapping): number | null {
  const tree = file.entries.get('reclamation')
  if (!tree) return null
  const example = 'reclamation: { min_window: 24h }'
  const given = need(report, file, 'reclamation', example)
  const mapping = given && readMapping(report, given, { known: ['min_window'], example })
  const window = mapping && need(report, mapping, 'min_window', 'min_window: 24h')
  if (!window) return null
  const text = readText(report, window) ?? ''
  const parts = [...text.matchAll(/(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|μs|ms|s|m|h)/g)]
  const whole = parts.map(([part]) => part).join('') === text.replace(/^\+/, '')
  const seconds = parts.reduce((sum, [, n, unit = '']) => sum + Number(n) * (SECONDS[unit] ?? 0), 0)
  if (!whole || seconds <= 0 || seconds > MAX_NOTICE_S) {
    const allowed = 'above 0 and at most a year, in s, m and h'
    wrong(report, window, 'this is no length of notice', { allowed, example: 'min_window: 24h' })
    return null
  }
  if (!/^[1-9]\d*[smh]$/.test(text))
    report.warn(window.place, {
      message: `read as ${Math.ceil(seconds)}s; Akash's Console wants one whole number and s, m or h`,
      found: short(text),
    })
  return Math.ceil(seconds)
}
