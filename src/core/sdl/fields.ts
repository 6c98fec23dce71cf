/**
 * Reading single values of the tree as the fields want them. What one of Akash's two parsers takes with one clear
 * meaning is taken, with a warning; each reader gives null for what is absent or was reported as a problem.
 */
import { short, shown, type Report } from './report.ts'
import {
  isNothing,
  keyPlace,
  type Mapping,
  type Place,
  type Scalar,
  type Tree,
} from './yaml-tree.ts'

/** What a mapping may hold. `strict`: both of Akash's parsers refuse anything else. */
export type Shape = {
  readonly known: readonly string[]
  readonly strict?: boolean
  /** For keys that people write here by mistake: what to write instead. */
  readonly hints?: Readonly<Record<string, string>>
  readonly example?: string
}

export function readMapping(report: Report, tree: Tree, shape: Shape): Mapping | null {
  const mapping = readAnyMapping(report, tree, shape.example)
  if (!mapping) return null
  for (const [key, { place }] of mapping.entries) {
    if (shape.known.includes(key)) continue
    const known = shape.hints && Object.hasOwn(shape.hints, key) ? shape.hints[key] : undefined
    const hint = known ?? (shape.strict === true ? null : 'it is ignored')
    const words = {
      message: `there is no key '${short(key)}' here${hint === null ? '' : `: ${hint}`}`,
      allowed: shape.known.join(', '),
    }
    if (shape.strict === true) report.problem(keyPlace(place), words)
    else report.warn(keyPlace(place), words)
  }
  return mapping
}

/** A mapping whose keys are names that the tenant chose. Null for nothing. */
export function readAnyMapping(report: Report, tree: Tree, example?: string): Mapping | null {
  if (tree.kind === 'mapping') return tree
  if (isNothing(tree)) emptyWarning(report, tree, 'mapping')
  else wrong(report, tree, 'a mapping is needed here', { allowed: 'key: value', example })
  return null
}

/** The items of a list; none for nothing. */
export function readList(
  report: Report,
  tree: Tree | undefined,
  more: { example?: string; emptyIsUsual?: boolean } = {},
): readonly Tree[] {
  if (!tree) return []
  if (tree.kind === 'list') return tree.items
  if (!isNothing(tree))
    wrong(report, tree, 'a list is needed here', { allowed: '- item', example: more.example })
  else if (more.emptyIsUsual !== true) emptyWarning(report, tree, 'list')
  return []
}

function emptyWarning(report: Report, { place }: Tree, kind: string): void {
  report.warn(place, {
    message: 'an empty value is read as none',
    allowed: `a ${kind}, or leave the key out`,
  })
}

/** Text. Numbers and the like are taken as they are written, as Akash's CLI does. */
export function readText(report: Report, tree: Tree | undefined): string | null {
  if (!tree || isNothing(tree)) return null
  if (tree.kind !== 'scalar') {
    wrong(report, tree, 'text is needed here', { allowed: 'one value' })
    return null
  }
  if (!tree.quoted && looksTyped(tree.text))
    report.warn(tree.place, {
      message: `Akash's Console wants text here: write it in quotes`,
      found: short(tree.text),
      example: `"${short(tree.text)}"`,
    })
  return tree.text
}

/** Text that also Akash's Console takes without quotes: sizes, amounts, versions. */
export function readScalar(report: Report, tree: Tree | undefined): Scalar | null {
  if (!tree || isNothing(tree)) return null
  if (tree.kind === 'scalar') return tree
  wrong(report, tree, 'one value is needed here', {})
  return null
}

export function readTexts(
  report: Report,
  tree: Tree | undefined,
  more: { example?: string; emptyIsUsual?: boolean } = {},
): string[] {
  return readList(report, tree, more).map((item) => readText(report, item) ?? '')
}

const looksTyped = (text: string): boolean =>
  /^(true|false|True|False|TRUE|FALSE|[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?|0x[\da-fA-F]+|0o[0-7]+)$/.test(
    text,
  )

/** A whole number in [min, max]. `'80'` in quotes is text, which both parsers refuse. */
export function readWhole(
  report: Report,
  tree: Tree | undefined,
  range: { min: number; max: number; example: string },
): number | null {
  if (!tree || isNothing(tree)) return null
  const number = tree.kind === 'scalar' && !tree.quoted ? wholeOf(tree.text) : null
  if (number !== null && number >= range.min && number <= range.max) return number
  const quoted = tree.kind === 'scalar' && tree.quoted && wholeOf(tree.text) !== null
  const message = quoted
    ? 'a number is needed, without quotes'
    : number === null
      ? 'a whole number is needed'
      : 'this number is out of bounds'
  wrong(report, tree, message, {
    allowed: `${range.min} to ${range.max}`,
    example: range.example,
  })
  return null
}

/** 80, 8_080, 0x50, 0o120 and 80.0; null for anything else. A leading zero means two things, so it means none. */
function wholeOf(text: string): number | null {
  const plain = text.replaceAll('_', '')
  const number = /^(\+?(0|[1-9]\d*)(\.0*)?|-[1-9]\d*|0x[\da-fA-F]+|0o[0-7]+|0b[01]+)$/.test(plain)
    ? Number(plain)
    : Number.NaN
  return Number.isSafeInteger(number) ? number : null
}

/** True or false; false when absent. YAML 1.1's yes and on are taken, as Akash's CLI does. */
export function readFlag(report: Report, tree: Tree | undefined): boolean {
  if (!tree || isNothing(tree)) return false
  const text = tree.kind === 'scalar' ? tree.text : ''
  const plain = tree.kind === 'scalar' && !tree.quoted
  if (plain && /^(true|True|TRUE)$/.test(text)) return true
  if (plain && /^(false|False|FALSE)$/.test(text)) return false
  const yes = /^(y|Y|yes|Yes|YES|on|On|ON)$/.test(text)
  if (yes || /^(n|N|no|No|NO|off|Off|OFF)$/.test(text)) {
    report.warn(tree.place, {
      message: `read as ${yes}; Akash's Console refuses it`,
      found: shown(tree),
      allowed: 'true or false',
    })
    return yes
  }
  const example = 'true'
  wrong(report, tree, 'true or false is needed', {
    allowed: 'true or false, without quotes',
    example,
  })
  return false
}

/** A key that must be there, and not be empty. */
export function need(report: Report, mapping: Mapping, key: string, example: string): Tree | null {
  const tree = mapping.entries.get(key)
  if (tree && !isNothing(tree)) return tree
  const place: Place = keyPlace(tree?.place ?? mapping.place)
  report.problem(place, {
    message: `'${key}' is missing`,
    ...(tree && { found: 'nothing' }),
    example,
  })
  return null
}

/** A problem at a value: what was found is shown. */
export function wrong(
  report: Report,
  tree: Tree,
  message: string,
  more: { allowed?: string | undefined; example?: string | undefined },
): void {
  const { allowed, example } = more
  report.problem(tree.place, {
    message,
    found: shown(tree),
    ...(allowed !== undefined && { allowed }),
    ...(example !== undefined && { example }),
  })
}
