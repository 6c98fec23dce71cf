/** `storage` of a compute profile: one volume, or a list of them. */
import { STORAGE_CLASSES, type StorageClass, type Volume } from '../protocol/resources.ts'
import { need, readMapping, readScalar, readText, wrong } from './fields.ts'
import { readSize } from './size.ts'
import { shown, type Report } from './report.ts'
import type { Tree } from './yaml-tree.ts'

const MIN_BYTES = 5 * 2 ** 20
const MAX_BYTES = 32 * 2 ** 40
/** What a node is asked for at most: core/protocol/resources.ts. */
const MAX_VOLUMES = 16
/** Akash's providers decline a service with more. */
const USUAL_VOLUMES = 4
const EXAMPLE = 'storage: [{ size: 1Gi }]'

export type VolumeEntry = Volume & {
  /** `attributes` as Akash's tools write them into a manifest; null when the file has none. */
  readonly attributes: { readonly class: StorageClass | null; readonly persistent: boolean } | null
  /**
   * The name of a volume that is written as a mapping and not in a list. Akash's CLI calls it `default` whatever it
   * says, and its Console by this name: it answers to both.
   */
  readonly alias: string | null
}

export function readStorage(report: Report, tree: Tree): readonly VolumeEntry[] {
  const single = tree.kind !== 'list'
  const items = single ? [tree] : tree.items
  if (items.length === 0) wrong(report, tree, 'a service needs some storage', { example: EXAMPLE })
  const volumes = items.flatMap((item) => {
    const volume = readVolume(report, item, single)
    return volume ? [volume] : []
  })
  const names = new Set<string>()
  for (const { name } of volumes) {
    if (names.has(name))
      report.problem(tree.place, {
        message: 'two volumes have one name',
        found: name,
        example: '- { name: data, size: 1Gi }',
      })
    names.add(name)
  }
  if (volumes.length > MAX_VOLUMES)
    wrong(report, tree, 'these are too many volumes', { allowed: `at most ${MAX_VOLUMES}` })
  else if (volumes.length > USUAL_VOLUMES)
    report.warn(tree.place, {
      message: `Akash's providers decline more than ${USUAL_VOLUMES} volumes`,
      found: String(volumes.length),
    })
  return sorted(volumes)
}

const DEFAULT_NAME = 'default'

function readVolume(report: Report, tree: Tree, single: boolean): VolumeEntry | null {
  const known = ['name', 'size', 'attributes']
  const hints = {
    class: 'it belongs under `attributes`',
    persistent: 'it belongs under `attributes`',
  }
  const mapping = readMapping(report, tree, { known, hints, example: '{ size: 1Gi }' })
  const given = mapping && need(report, mapping, 'size', 'size: 1Gi')
  if (!mapping || !given) return null
  const limits = { min: MIN_BYTES, max: MAX_BYTES, example: 'size: 1Gi' }
  const bytes = readSize(report, given, limits)
  const name = readText(report, mapping.entries.get('name')) || DEFAULT_NAME
  const attributes = readAttributes(report, mapping.entries.get('attributes'))
  if (bytes === null) return null
  return {
    name: single ? DEFAULT_NAME : name,
    alias: single && name !== DEFAULT_NAME ? name : null,
    bytes,
    persistent: attributes?.persistent ?? false,
    class: attributes?.class ?? 'default',
    attributes,
  }
}

function readAttributes(report: Report, tree: Tree | undefined): VolumeEntry['attributes'] {
  const known = ['persistent', 'class']
  const example = 'attributes: { persistent: true, class: beta3 }'
  const mapping = tree && readMapping(report, tree, { known, strict: true, example })
  if (!mapping) return null
  const persistent = readPersistent(report, mapping.entries.get('persistent'))
  const given = mapping.entries.get('class')
  const text = readText(report, given) || null
  const found = STORAGE_CLASSES.find((name) => name === text) ?? null
  if (given && text !== null && found === null)
    wrong(report, given, 'this storage class is unknown', {
      allowed: `${STORAGE_CLASSES.join(', ')} (HDD, SSD and NVMe are beta1, beta2 and beta3)`,
      example: 'class: beta3',
    })
  if (found === 'ram' && persistent === true)
    wrong(report, mapping, 'memory is never persistent', {
      example: '{ class: ram, persistent: false }',
    })
  if (found !== null && found !== 'ram' && persistent !== true)
    wrong(report, mapping, `the class ${found} is for volumes that persist`, { example })
  if (mapping.entries.size > 0 && (persistent === null || found === null))
    report.warn(mapping.place, {
      message: `read as ${persistent === true ? 'class: default' : 'persistent: false'}; Akash's Console wants both`,
      allowed: 'class and persistent',
      example,
    })
  return {
    class: found ?? (persistent === true ? 'default' : null),
    persistent: persistent === true,
  }
}

/** Text in both parsers, so `yes` and `"true"` count. Null when absent. */
function readPersistent(report: Report, tree: Tree | undefined): boolean | null {
  const scalar = readScalar(report, tree)
  if (!scalar) return null
  const text = scalar.text.toLowerCase()
  const yes = ['true', 'on', 'yes'].includes(text)
  if (!yes && !['false', 'off', 'no'].includes(text)) {
    const allowed = 'true or false'
    wrong(report, scalar, 'true or false is needed', { allowed, example: 'persistent: true' })
  } else if (!['true', 'false'].includes(scalar.text))
    report.warn(scalar.place, { message: `read as ${yes}`, found: shown(scalar) })
  return yes
}

/** Small first; of one size those without attributes first. The order of Akash's Go parser, which its hash needs. */
function sorted(volumes: readonly VolumeEntry[]): readonly VolumeEntry[] {
  const result: VolumeEntry[] = []
  for (const volume of volumes) {
    let at = result.length
    while (at > 0 && precedes(volume, result[at - 1])) at -= 1
    result.splice(at, 0, volume)
  }
  return result
}

function precedes(a: VolumeEntry, b: VolumeEntry | undefined): boolean {
  if (!b || a.bytes !== b.bytes) return b !== undefined && a.bytes < b.bytes
  if ((a.attributes === null) !== (b.attributes === null)) return a.attributes === null
  if (a.persistent !== b.persistent) return !a.persistent
  // Go's comparison puts the later of two ephemeral volumes first.
  return a.persistent ? a.name < b.name : true
}
