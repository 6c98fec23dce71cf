/** `gpu` of a compute profile: how many, and which will do. */
import type { GpuModel, Resources } from '../protocol/resources.ts'
import { need, readList, readMapping, readScalar, readText, wrong } from './fields.ts'
import { readBytes } from './quantity.ts'
import { shown, type Report } from './report.ts'
import type { Tree } from './yaml-tree.ts'

const MAX_GPUS = 24
const GIB = 2 ** 30
const EXAMPLE = 'gpu: { units: 1, attributes: { vendor: { nvidia: [{ model: rtx4090 }] } } }'
const INTERFACES = ['pcie', 'sxm'] as const

export function readGpu(report: Report, tree: Tree | undefined): Resources['gpu'] {
  const known = ['units', 'attributes']
  const mapping = tree && readMapping(report, tree, { known, strict: true, example: EXAMPLE })
  if (!mapping) return null
  const units = readUnits(report, mapping.entries.get('units'))
  const attributes = mapping.entries.get('attributes')
  const anyOf = attributes ? readAttributes(report, attributes) : []
  if (units === 0 && attributes)
    report.problem(attributes.place, {
      message: 'attributes without a GPU: say how many',
      found: 'units: 0',
      example: 'units: 1',
    })
  if (units > 0 && !attributes) need(report, mapping, 'attributes', EXAMPLE)
  return units === 0 || anyOf.length === 0 ? null : { units, anyOf }
}

function readUnits(report: Report, tree: Tree | undefined): number {
  const scalar = readScalar(report, tree)
  if (!scalar) return 0
  if (/^\d{1,9}$/.test(scalar.text) && Number(scalar.text) <= MAX_GPUS) return Number(scalar.text)
  const allowed = `a whole number, 0 to ${MAX_GPUS}`
  wrong(report, scalar, 'this is no number of GPUs', { allowed, example: 'units: 1' })
  return 0
}

function readAttributes(report: Report, tree: Tree): GpuModel[] {
  const example = 'attributes: { vendor: { nvidia: [{ model: rtx4090 }] } }'
  const attributes = readMapping(report, tree, { known: ['vendor'], strict: true, example })
  const given = attributes && need(report, attributes, 'vendor', example)
  const known = ['nvidia', 'amd']
  const vendors = given && readMapping(report, given, { known, strict: true, example })
  if (!vendors) return []
  if (vendors.entries.size === 0)
    wrong(report, vendors, 'name a vendor', { allowed: known.join(', '), example })
  const models = [...vendors.entries].flatMap(([vendor, list]) => {
    if (vendor === 'amd')
      report.warn(list.place, {
        message: "Akash's Console refuses AMD, and its CLI asks for NVIDIA instead; here it is AMD",
      })
    const asked = readList(report, list, { example: '[{ model: rtx4090 }]', emptyIsUsual: true })
    if (asked.length === 0) return [{ vendor, ...ANY }]
    return asked.flatMap((item) => readModel(report, vendor, item))
  })
  return withoutRepeats(report, tree, models)
}

const ANY = { model: null, ramBytes: null, interface: null }

function readModel(report: Report, vendor: string, tree: Tree): GpuModel[] {
  const known = ['model', 'ram', 'interface']
  const example = '{ model: a100, ram: 80Gi, interface: sxm }'
  const mapping = readMapping(report, tree, { known, example })
  if (!mapping) return []
  return [
    {
      vendor,
      model: readModelName(report, mapping.entries.get('model'), tree),
      ramBytes: readRam(report, mapping.entries.get('ram')),
      interface: readInterface(report, mapping.entries.get('interface')),
    },
  ]
}

function readModelName(report: Report, tree: Tree | undefined, around: Tree): string | null {
  const text = readText(report, tree)
  if (text === null || text === '' || !tree) {
    report.warn(around.place, {
      message: 'without a model any will do here; on Akash it would match none',
      example: 'model: "*"',
    })
    return null
  }
  if (text === '*') return null
  const name = text.toLowerCase()
  if (!/^[\w.-]{1,100}$/.test(name))
    wrong(report, tree, 'this is no name of a GPU model', {
      allowed: 'letters, digits, . and -',
      example: 'model: rtx4090',
    })
  else if (name !== text)
    report.warn(tree.place, { message: `read as ${name}; Akash would match no provider` })
  return name
}

/** GPU memory counts in GiB whatever the letters: an "80GB" H100 has 80 GiB. */
function readRam(report: Report, tree: Tree | undefined): number | null {
  const scalar = readScalar(report, tree)
  if (!scalar) return null
  const loose = /^(\d{1,4})\s*g(?:i?b?)?$/i.exec(scalar.text)
  const bytes = loose ? Number(loose[1]) * GIB : (readBytes(scalar.text)?.value ?? 0)
  if (bytes === 0)
    wrong(report, scalar, 'this is no size of GPU memory', {
      allowed: 'a number with Ki, Mi, Gi or Ti',
      example: 'ram: 80Gi',
    })
  else if (loose && !scalar.text.endsWith('Gi'))
    report.warn(scalar.place, {
      message: `read as ${loose[1]}Gi; Akash's CLI refuses this size`,
      found: shown(scalar),
      example: `ram: ${loose[1]}Gi`,
    })
  return bytes === 0 ? null : bytes
}

function readInterface(report: Report, tree: Tree | undefined): GpuModel['interface'] {
  const text = readText(report, tree)
  const known = INTERFACES.find((name) => name === text)
  if (text !== null && tree && !known)
    wrong(report, tree, 'this GPU interface is unknown', {
      allowed: INTERFACES.join(', '),
      example: 'interface: sxm',
    })
  return known ?? null
}

function withoutRepeats(report: Report, tree: Tree, models: readonly GpuModel[]): GpuModel[] {
  const unique = new Map(models.map((model) => [Object.values(model).join(' '), model]))
  if (unique.size < models.length)
    report.warn(tree.place, { message: "a GPU is named twice; Akash's CLI refuses that" })
  return [...unique.values()]
}
