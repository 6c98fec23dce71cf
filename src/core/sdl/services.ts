/** `services`: what runs. */
import {
  need,
  readAnyMapping,
  readFlag,
  readList,
  readMapping,
  readText,
  readTexts,
  wrong,
} from './fields.ts'
import { readExpose, type ExposedPort } from './expose.ts'
import { short, type Report } from './report.ts'
import { keyPlace, type Place, type Tree } from './yaml-tree.ts'

export type Mount = {
  readonly place: Place
  readonly volume: string
  readonly path: string
  readonly readOnly: boolean
}

export type Credentials = {
  readonly host: string
  readonly email: string
  readonly username: string
  readonly password: string
  readonly passwordPlace: Place
}

const PERMISSIONS = ['deployment', 'logs', 'events'] as const
const TEES = ['cpu', 'cpu-gpu'] as const

export type Params = {
  readonly mounts: readonly Mount[]
  readonly permissions: readonly (typeof PERMISSIONS)[number][] | null
  readonly tee: (typeof TEES)[number] | null
}

export type ServiceEntry = {
  readonly place: Place
  readonly name: string
  readonly image: string
  readonly command: readonly string[] | null
  readonly args: readonly string[] | null
  readonly env: readonly string[] | null
  readonly expose: readonly ExposedPort[]
  readonly params: Params | null
  readonly credentials: Credentials | null
}

const KEYS = ['image', 'command', 'args', 'env', 'expose', 'params', 'credentials', 'dependencies']
const TOGETHER =
  'it is ignored: services start together, so let each retry until what it needs is there'
const HINTS = {
  depends_on: TOGETHER,
  'depends-on': TOGETHER,
  cmd: "it is ignored, so the image's own command runs; did you mean `command`?",
  entrypoint: 'it is ignored; did you mean `command`?',
  environment: 'it is ignored, so nothing of it is set; did you mean `env: [NAME=value]`?',
  ports: 'it is ignored; did you mean `expose`?',
  volumes:
    'it is ignored, so nothing is mounted; volumes are named in the compute profile and mounted by `params.storage`',
  build: 'it is ignored: an image must be built and pushed first',
  restart: 'it is ignored: a service that ends is started again',
}

/** A service's name becomes a host name, for the others of its group and in the ingress. */
const NAME = /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/

export function readServices(report: Report, tree: Tree): ReadonlyMap<string, ServiceEntry> {
  const services = new Map<string, ServiceEntry>()
  const mapping = readAnyMapping(report, tree, 'services: { web: { image: nginx } }')
  for (const [name, value] of mapping?.entries ?? []) {
    if (!NAME.test(name))
      report.problem(keyPlace(value.place), {
        message: 'this cannot be the name of a service: it becomes a host name',
        found: short(name),
        allowed: 'lower-case letters, digits and dashes; a letter first, no dash last; at most 63',
        example: name.toLowerCase().replaceAll('_', '-').slice(0, 63),
      })
    const service = readService(report, name, value)
    if (service) services.set(name, service)
  }
  return services
}

function readService(report: Report, name: string, tree: Tree): ServiceEntry | null {
  const mapping = readMapping(report, tree, { known: KEYS, hints: HINTS })
  if (!mapping) return null
  const { entries } = mapping
  const image = need(report, mapping, 'image', 'image: nginx:1.29')
  const text = readText(report, image ?? undefined)
  if (image && text === '') wrong(report, image, 'the image is empty', { example: 'image: nginx' })
  readDependencies(report, entries.get('dependencies'))
  return {
    place: mapping.place,
    name,
    image: text ?? '',
    command: readWords(report, entries.get('command'), 'command: [sh, -c]'),
    args: readWords(report, entries.get('args'), 'args: ["--port=80"]'),
    env: readEnv(report, entries.get('env')),
    expose: readExpose(report, entries.get('expose')),
    params: readParams(report, entries.get('params')),
    credentials: readCredentials(report, entries.get('credentials')),
  }
}

/** Akash reads them and does nothing by them; so do we. */
function readDependencies(report: Report, tree: Tree | undefined): void {
  for (const item of readList(report, tree)) readMapping(report, item, { known: ['service'] })
}

function readWords(report: Report, tree: Tree | undefined, example: string) {
  const words = readTexts(report, tree, { example, emptyIsUsual: true })
  return tree?.kind === 'list' ? words : null
}

function readEnv(report: Report, tree: Tree | undefined): readonly string[] | null {
  const example = 'env: ["NAME=value"]'
  const items = readList(report, tree, { example, emptyIsUsual: true })
  const env = items.map((item) => {
    const text = readText(report, item) ?? ''
    const name = text.split('=', 1)[0] ?? ''
    if (item.kind === 'scalar' && (name === '' || /\s/.test(name)))
      wrong(report, item, 'an environment variable needs a name without spaces', {
        allowed: 'NAME=value, or NAME alone for an empty value',
        example: '- NAME=value',
      })
    else if (item.kind === 'scalar' && !isKubernetesName(name))
      report.warn(item.place, {
        message: `Akash's CLI refuses this name of a variable`,
        found: short(name),
        allowed: 'letters, digits, _, - and . ; no digit first',
      })
    return text
  })
  return tree?.kind === 'list' ? env : null
}

const isKubernetesName = (name: string): boolean =>
  /^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name) && name !== '.' && !name.startsWith('..')

function readParams(report: Report, tree: Tree | undefined): Params | null {
  const known = ['storage', 'permissions', 'tee']
  const mapping = tree && readMapping(report, tree, { known })
  if (!mapping) return null
  const tee = mapping.entries.get('tee')
  return {
    mounts: readMounts(report, mapping.entries.get('storage')),
    permissions: readPermissions(report, mapping.entries.get('permissions')),
    tee: tee ? oneOf(report, tee, TEES, 'tee: cpu') : null,
  }
}

function readMounts(report: Report, tree: Tree | undefined): readonly Mount[] {
  const mounts: Mount[] = []
  const byPath = new Map<string, string>()
  const storage = tree && readAnyMapping(report, tree, 'storage: { data: { mount: /data } }')
  for (const [volume, value] of storage?.entries ?? []) {
    const mapping = readMapping(report, value, { known: ['mount', 'readOnly'] })
    const given = mapping && need(report, mapping, 'mount', 'mount: /data')
    if (!mapping || !given) continue
    const path = readText(report, given) ?? ''
    const other = byPath.get(path)
    const example = 'mount: /data'
    if (!path.startsWith('/'))
      wrong(report, given, 'a mount is an absolute path', { allowed: '/…', example })
    else if (other !== undefined)
      wrong(report, given, `the volume '${short(other)}' is mounted there already`, { example })
    byPath.set(path, volume)
    const readOnly = readFlag(report, mapping.entries.get('readOnly'))
    mounts.push({ place: mapping.place, volume, path, readOnly })
  }
  return mounts.toSorted((a, b) => (a.volume < b.volume ? -1 : 1))
}

function readPermissions(report: Report, tree: Tree | undefined): Params['permissions'] {
  const mapping = tree && readMapping(report, tree, { known: ['read'] })
  if (!mapping) return null
  return readList(report, mapping.entries.get('read')).flatMap((item) => {
    const known = oneOf(report, item, PERMISSIONS, 'read: [logs]')
    return known ? [known] : []
  })
}

function oneOf<T extends string>(
  report: Report,
  tree: Tree,
  allowed: readonly T[],
  example: string,
): T | null {
  const text = readText(report, tree)
  const known = allowed.find((one) => one === text)
  // Akash's CLI reads empty text as none.
  if (known === undefined && text !== null && text !== '')
    wrong(report, tree, 'this is not known here', { allowed: allowed.join(', '), example })
  return known ?? null
}

/** What Akash's Console asks for; its CLI asks for no length. */
const SHORTEST_PASSWORD = 6
const SHORTEST_EMAIL = 5

/** What was found is never shown: it may be a password. */
function readCredentials(report: Report, tree: Tree | undefined): Credentials | null {
  const known = ['host', 'email', 'username', 'password']
  const mapping = tree && readMapping(report, tree, { known })
  if (!mapping) return null
  const wanted = (key: string, example: string) => {
    const given = need(report, mapping, key, example)
    const text = (given && given.kind === 'scalar' ? given.text : '').trim()
    if (given && text === '')
      report.problem(given.place, { message: `'${key}' must be text that is not empty`, example })
    return text
  }
  const email = mapping.entries.get('email')
  const emailText = email?.kind === 'scalar' ? email.text.trim() : ''
  if (email && emailText.length < SHORTEST_EMAIL)
    report.warn(email.place, { message: "Akash's Console wants an email of at least 5 characters" })
  const password = wanted('password', 'password: "…"')
  const passwordPlace = mapping.entries.get('password')?.place ?? mapping.place
  if (password !== '' && password.length < SHORTEST_PASSWORD)
    report.warn(passwordPlace, {
      message: "Akash's Console wants a password of at least 6 characters",
    })
  return {
    host: wanted('host', 'host: ghcr.io'),
    email: emailText,
    username: wanted('username', 'username: me'),
    password,
    passwordPlace,
  }
}
