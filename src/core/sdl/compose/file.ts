/** docker-compose files, as far as they can become SDL. What cannot is warned of, key by key. */
import { readAnyMapping, readList, readMapping, readScalar, readWhole, wrong } from '../fields.ts'
import { readComposeBytes } from './bytes.ts'
import { readMounts, type ComposeMount } from './mounts.ts'
import { composeText } from './text.ts'
import { readPorts, type ComposePort } from './ports.ts'
import { readCpuMilli } from '../quantity.ts'
import { short, type Report } from '../report.ts'
import { shellWords } from './shell-words.ts'
import { keyPlace, type Mapping, type Place, type Tree } from '../yaml-tree.ts'

export type ComposeService = {
  readonly place: Place
  readonly name: string
  readonly image: string
  readonly entrypoint: readonly string[] | null
  readonly command: readonly string[] | null
  readonly env: readonly string[]
  readonly ports: readonly ComposePort[]
  readonly mounts: readonly ComposeMount[]
  readonly dependsOn: readonly string[]
  readonly cpuMilli: number | null
  readonly memoryBytes: number | null
  readonly shmBytes: number | null
  readonly gpus: number
  readonly copies: number
}

const SERVICE_KEYS = [
  'image',
  'entrypoint',
  'command',
  'environment',
  'ports',
  'expose',
  'volumes',
  'tmpfs',
  'depends_on',
  'deploy',
  'scale',
  'cpus',
  'mem_limit',
  'shm_size',
  'gpus',
  // Of no use here: services start again, have names, and reach each other.
  'restart',
  'container_name',
  'networks',
]

const LOST = 'it cannot be carried over'
const HINTS = {
  build: 'build the image and push it first; then name it under `image`',
  env_file: `${LOST}: write its variables into environment`,
  healthcheck: LOST,
  secrets: `${LOST}: pass them as variables`,
  configs: `${LOST}: put the files into the image`,
  privileged: `${LOST}: nobody gets more rights than a container has`,
  cap_add: `${LOST}: nobody gets more rights than a container has`,
  network_mode: LOST,
  extra_hosts: LOST,
  user: `${LOST}: the image's own user runs`,
  working_dir: `${LOST}: the image's own folder is used`,
}

/** Every value that is not understood is reported. */
export function readComposeFile(report: Report, tree: Tree): readonly ComposeService[] {
  const known = ['services', 'volumes', 'version', 'name', 'networks']
  const lost = { secrets: HINTS.secrets, configs: HINTS.configs, include: LOST }
  const file = readMapping(report, tree, { known, hints: lost })
  const services = file?.entries.get('services')
  if (file && !services)
    report.problem(file.place, {
      message: 'a docker-compose file has `services`',
      example: 'services: { web: { image: nginx } }',
    })
  const entries = (services && readAnyMapping(report, services)?.entries) ?? []
  return [...entries].flatMap(([name, value]) => {
    const service = readService(report, name, value)
    return service ? [service] : []
  })
}

function readService(report: Report, name: string, tree: Tree): ComposeService | null {
  const mapping = readMapping(report, tree, { known: SERVICE_KEYS, hints: HINTS })
  if (!mapping) return null
  const { entries } = mapping
  const image = composeText(report, entries.get('image'))
  if (image === null)
    report.problem(mapping.place, {
      message: entries.has('build') ? HINTS.build : 'the image is missing',
      example: 'image: ghcr.io/me/app:1.0',
    })
  const deploy = readDeploy(report, entries.get('deploy'))
  const scale = readWhole(report, entries.get('scale'), COPIES)
  return {
    place: keyPlace(mapping.place),
    name,
    image: image ?? '',
    entrypoint: readCommand(report, entries.get('entrypoint')),
    command: readCommand(report, entries.get('command')),
    env: readEnvironment(report, entries.get('environment')),
    ports: readPorts(report, mapping),
    mounts: readMounts(report, mapping),
    dependsOn: readNames(report, entries.get('depends_on')),
    cpuMilli: readCpus(report, entries.get('cpus')) ?? deploy.cpuMilli,
    memoryBytes: readComposeBytes(report, entries.get('mem_limit')) ?? deploy.memoryBytes,
    shmBytes: readComposeBytes(report, entries.get('shm_size')),
    gpus: readGpus(report, entries.get('gpus')) ?? deploy.gpus,
    copies: scale ?? deploy.copies,
  }
}

const COPIES = { min: 1, max: 1000, example: 'scale: 1' }

/** A line is cut into words, as compose does it; a list is taken as it is. */
function readCommand(report: Report, tree: Tree | undefined): string[] | null {
  if (!tree) return null
  if (tree.kind === 'list') return tree.items.map((item) => composeText(report, item) ?? '')
  const line = composeText(report, tree)
  return line === null ? null : shellWords(line)
}

/** `NAME: value` and `- NAME=value`. */
function readEnvironment(report: Report, tree: Tree | undefined): string[] {
  if (tree?.kind !== 'mapping')
    return readList(report, tree, { emptyIsUsual: true }).map(
      (item) => composeText(report, item) ?? '',
    )
  return [...tree.entries].map(([name, value]) => {
    const text = composeText(report, value)
    if (text === null)
      report.warn(keyPlace(value.place), { message: 'its value is not in the file: fill it in' })
    return `${name}=${text ?? ''}`
  })
}

/** A list of names, or a mapping by name. */
function readNames(report: Report, tree: Tree | undefined): string[] {
  if (tree?.kind === 'mapping') return [...tree.entries.keys()]
  return readList(report, tree).map((item) => composeText(report, item) ?? '')
}

function readCpus(report: Report, tree: Tree | undefined): number | null {
  const scalar = readScalar(report, tree)
  const cpu = scalar && readCpuMilli(scalar.text)
  if (scalar && !cpu) wrong(report, scalar, 'this is no number of CPUs', { example: 'cpus: "0.5"' })
  return cpu?.value ?? null
}

function readDeploy(report: Report, tree: Tree | undefined) {
  const none = { cpuMilli: null, memoryBytes: null, gpus: 0, copies: 1 }
  const known = ['resources', 'replicas', 'restart_policy']
  const deploy = tree && readMapping(report, tree, { known })
  if (!deploy) return none
  const copies = readWhole(report, deploy.entries.get('replicas'), COPIES) ?? 1
  const given = deploy.entries.get('resources')
  const resources = given && readMapping(report, given, { known: ['limits', 'reservations'] })
  const limits = partOf(report, resources, 'limits', ['cpus', 'memory', 'pids'])
  const reserved = partOf(report, resources, 'reservations', ['cpus', 'memory', 'devices'])
  const entry = (key: string) => limits?.entries.get(key) ?? reserved?.entries.get(key)
  return {
    cpuMilli: readCpus(report, entry('cpus')),
    memoryBytes: readComposeBytes(report, entry('memory')),
    gpus: readGpus(report, reserved?.entries.get('devices')) ?? 0,
    copies,
  }
}

function partOf(
  report: Report,
  mapping: Mapping | null | undefined,
  key: string,
  known: readonly string[],
): Mapping | null {
  const part = mapping?.entries.get(key)
  return part ? readMapping(report, part, { known }) : null
}

/** `gpus: all`, or devices with the capability `gpu`. All, or no number, is one. */
function readGpus(report: Report, tree: Tree | undefined): number | null {
  if (!tree) return null
  if (tree.kind === 'scalar') return gpuCount(report, tree)
  let gpus = 0
  for (const item of readList(report, tree)) {
    const known = ['driver', 'count', 'capabilities', 'device_ids', 'options']
    const device = readMapping(report, item, { known })
    const capabilities = device?.entries.get('capabilities')
    const isGpu = capabilities ? readNames(report, capabilities).includes('gpu') : true
    if (!device || !isGpu) continue
    const ids = device.entries.get('device_ids')
    const count = device.entries.get('count')
    gpus += ids?.kind === 'list' ? ids.items.length : count ? gpuCount(report, count) : 1
  }
  return gpus
}

function gpuCount(report: Report, tree: Tree): number {
  if (tree.kind === 'scalar' && /^\d{1,2}$/.test(tree.text)) return Number(tree.text)
  report.warn(tree.place, {
    message: `'${tree.kind === 'scalar' ? short(tree.text) : 'this'}' becomes one GPU: say how many`,
  })
  return 1
}
