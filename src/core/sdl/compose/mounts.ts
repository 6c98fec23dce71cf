/** `volumes` and `tmpfs` of docker-compose. Folders of the machine that runs compose stay behind. */
import { readComposeBytes } from './bytes.ts'
import { composeText } from './text.ts'
import { readFlag, readList, readMapping } from '../fields.ts'
import { short, type Report } from '../report.ts'
import type { Mapping, Tree } from '../yaml-tree.ts'

export type ComposeMount = {
  /** Null: memory. */
  readonly volume: string | null
  readonly path: string
  readonly readOnly: boolean
  readonly bytes: number | null
}

export function readMounts(report: Report, { entries }: Mapping): readonly ComposeMount[] {
  const tmpfs = entries.get('tmpfs')
  const memory = tmpfs?.kind === 'scalar' ? [tmpfs] : readList(report, tmpfs)
  return [
    ...readList(report, entries.get('volumes')).flatMap((item) => readVolume(report, item)),
    ...memory.flatMap((item) => {
      const [path = ''] = (composeText(report, item) ?? '').split(':')
      return path.startsWith('/') ? [{ volume: null, path, readOnly: false, bytes: null }] : []
    }),
  ]
}

/** `data:/var/lib/app:ro`, or a mapping. */
function readVolume(report: Report, tree: Tree): ComposeMount[] {
  if (tree.kind === 'mapping') return readLongVolume(report, tree)
  const [source = '', path, mode = ''] = (composeText(report, tree) ?? '').split(':')
  if (path === undefined) return anonymous(report, tree, source)
  return named(report, tree, { source, path, readOnly: mode.split(',').includes('ro') })
}

function readLongVolume(report: Report, tree: Tree): ComposeMount[] {
  const known = ['type', 'source', 'target', 'read_only', 'tmpfs', 'volume', 'bind']
  const entries = readMapping(report, tree, { known })?.entries
  const path = composeText(report, entries?.get('target')) ?? ''
  const source = composeText(report, entries?.get('source'))
  const readOnly = readFlag(report, entries?.get('read_only'))
  if (composeText(report, entries?.get('type')) === 'tmpfs') {
    const given = entries?.get('tmpfs')
    const inner = given && readMapping(report, given, { known: ['size', 'mode'] })
    const bytes = readComposeBytes(report, inner?.entries.get('size'))
    return [{ volume: null, path, readOnly: false, bytes }]
  }
  if (source === null) return anonymous(report, tree, path)
  return named(report, tree, { source, path, readOnly })
}

function named(
  report: Report,
  tree: Tree,
  { source, path, readOnly }: { source: string; path: string; readOnly: boolean },
): ComposeMount[] {
  if (/^[a-zA-Z0-9][\w.-]{0,99}$/.test(source) && path.startsWith('/'))
    return [{ volume: source, path, readOnly, bytes: null }]
  report.warn(tree.place, {
    message: 'a folder of your machine cannot be carried over: put its files into the image',
    found: short(source),
  })
  return []
}

function anonymous(report: Report, tree: Tree, path: string): ComposeMount[] {
  report.warn(tree.place, {
    message: 'a volume without a name becomes part of the disk that ends with the container',
    found: short(path),
  })
  return []
}
