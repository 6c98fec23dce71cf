/**
 * YAML as a tree whose every value knows its place. Numbers and booleans stay text: the two parsers that Akash
 * has disagree about types, so the reader of each field decides. Size, depth and alias expansion are bounded.
 */
import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type CST,
  type Document,
  type Node,
  type Pair,
} from 'yaml'

/** Room for long scripts and certificates in `args` and `env`. */
export const MAX_SDL_BYTES = 1024 * 1024
/** Words, spaces and signs: 6 times the largest real file that we know, so that no file takes a second. */
const MAX_LEXEMES = 20_000
/** An SDL needs 11 levels. */
const MAX_DEPTH = 64
/** Values after aliases are expanded: a "billion laughs" file stops here. */
const MAX_NODES = 10_000
const MAX_KEY_LENGTH = 300

/** Where a value stands: its offset in the text, its key's, and its key in the value around it. */
export type Place = {
  readonly offset: number
  readonly keyOffset: number
  readonly parent: Place | null
  readonly key: string | number
}

/** `quoted` text is text even when it looks like a number; block scalars count as quoted. */
export type Scalar = {
  readonly kind: 'scalar'
  readonly text: string
  readonly quoted: boolean
  readonly place: Place
}
export type List = {
  readonly kind: 'list'
  readonly items: readonly Tree[]
  readonly place: Place
}
export type Mapping = {
  readonly kind: 'mapping'
  readonly entries: ReadonlyMap<string, Tree>
  readonly place: Place
}
export type Tree = Scalar | List | Mapping

/** What makes the text no YAML that we take. */
export type YamlFault = { readonly place: Place; readonly message: string }

export type ParsedYaml = {
  readonly tree: Tree
  readonly lines: LineCounter
  readonly faults: readonly YamlFault[]
  /** How many documents the text holds; the tree is that of the first. */
  readonly documents: number
}

const TOP: Place = { offset: 0, keyOffset: 0, parent: null, key: '' }

/** Never throws. With faults the tree is what could be understood; nothing may be built on it. */
export function parseYaml(text: string): ParsedYaml {
  const lines = new LineCounter()
  const nothing = (message: string, offset = 0): ParsedYaml => ({
    tree: { kind: 'scalar', text: '', quoted: false, place: TOP },
    lines,
    faults: [{ place: { ...TOP, offset }, message }],
    documents: 0,
  })
  const bytes = new TextEncoder().encode(text).length
  if (bytes > MAX_SDL_BYTES)
    return nothing(`the file has ${bytes} bytes; at most ${MAX_SDL_BYTES} are read`)
  if (tooMany(text)) return nothing(`more than ${MAX_LEXEMES} words and signs`)
  const tokens = [...new Parser(lines.addNewLine).parse(text)]
  const deep = tooDeep(tokens)
  if (deep !== null) return nothing(`nested deeper than ${MAX_DEPTH} levels`, deep)
  // Types stay text under `failsafe`; uniqueness is checked below, in linear time.
  const composer = new Composer({ schema: 'failsafe', uniqueKeys: false, logLevel: 'silent' })
  const documents = [...composer.compose(tokens, true, text.length)]
  const [first] = documents
  if (!first) return nothing('the file is empty')
  const reading = new Reading()
  const tree = reading.tree(first.contents, TOP, 0)
  const broken = first.errors.map(({ message, pos }) => ({
    place: { ...TOP, offset: pos[0] },
    message: message.replace(/^./, (letter) => letter.toLowerCase()),
  }))
  return {
    tree,
    lines,
    faults: [...broken, ...reading.faults],
    documents: documents.filter((document) => !isEmpty(document)).length,
  }
}

const isEmpty = ({ contents }: Document.Parsed): boolean =>
  contents === null || (isScalar(contents) && contents.source === '')

function tooMany(text: string): boolean {
  let count = 0
  for (const _ of new Lexer().lex(text)) if ((count += 1) > MAX_LEXEMES) return true
  return false
}

/** The offset where nesting passes the limit, before anything recursive meets it. */
function tooDeep(tokens: readonly CST.Token[]): number | null {
  const open: [CST.Token | null | undefined, number][] = tokens.map((token) => [token, 0])
  for (let next = open.pop(); next; next = open.pop()) {
    const [token, depth] = next
    if (!token) continue
    if (depth > MAX_DEPTH) return token.type === 'error' ? 0 : token.offset
    if (token.type === 'document') open.push([token.value, depth])
    if ('items' in token)
      for (const { key, value } of token.items) open.push([key, depth + 1], [value, depth + 1])
  }
  return null
}

/** One walk over a document: anchors are known once passed, as in YAML's own order. */
class Reading {
  readonly faults: YamlFault[] = []
  readonly #anchors = new Map<string, Node>()
  readonly #open = new Set<Node>()
  #nodes = 0

  tree(node: Node | null, place: Place, depth: number): Tree {
    if (!this.#affords(place, depth) || node === null) return nothingAt(place)
    if (isAlias(node)) return this.#alias(node.source, place, depth)
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node)
    if (isScalar(node)) return this.#scalar(node.value, node, place)
    this.#open.add(node)
    const tree = isMap<Node, Node>(node)
      ? this.#mapping(node.items, place, depth)
      : isSeq<Node>(node)
        ? this.#list(node.items, place, depth)
        : nothingAt(place)
    this.#open.delete(node)
    return tree
  }

  #affords(place: Place, depth: number): boolean {
    this.#nodes += 1
    if (this.#nodes === MAX_NODES + 1)
      this.faults.push({ place, message: `more than ${MAX_NODES} values, aliases expanded` })
    if (depth === MAX_DEPTH + 1)
      this.faults.push({ place, message: `nested deeper than ${MAX_DEPTH} levels` })
    return this.#nodes <= MAX_NODES && depth <= MAX_DEPTH
  }

  #alias(name: string, place: Place, depth: number): Tree {
    const target = this.#anchors.get(name)
    if (target && !this.#open.has(target)) {
      const offset = target.range?.[0] ?? place.offset
      return this.tree(target, { ...place, offset }, depth + 1)
    }
    const why = target ? 'contains itself' : 'is not known here'
    this.faults.push({ place, message: `the anchor of the alias *${name} ${why}` })
    return nothingAt(place)
  }

  #scalar(value: unknown, node: Node, place: Place): Scalar {
    const text = typeof value === 'string' ? value : ''
    const type = isScalar(node) ? node.type : undefined
    const tag = node.tag?.replace('tag:yaml.org,2002:', '')
    if (tag !== undefined && !STANDARD_TAGS.has(tag))
      this.faults.push({ place, message: `the tag ${node.tag} is not understood` })
    const quoted = tag === undefined ? type !== 'PLAIN' : tag === 'str'
    return { kind: 'scalar', text, quoted, place }
  }

  #list(items: readonly Node[], place: Place, depth: number): List {
    const trees: Tree[] = []
    for (const [key, item] of items.entries()) {
      if (this.#nodes > MAX_NODES) break
      const offset = offsetOf(item, place)
      trees.push(this.tree(item, { offset, keyOffset: offset, parent: place, key }, depth + 1))
    }
    return { kind: 'list', items: trees, place }
  }

  #mapping(pairs: readonly Pair<Node, Node | null>[], place: Place, depth: number): Mapping {
    const entries = new Map<string, Tree>()
    const merged: Tree[] = []
    for (const { key, value } of pairs) {
      if (this.#nodes > MAX_NODES) break
      const at = offsetOf(key, place)
      const name = this.#key(key, { offset: at, keyOffset: at, parent: place, key: '' })
      if (name === null) continue
      const offset = offsetOf(value, place, at)
      const spot = { offset, keyOffset: at, parent: place, key: name.text }
      const tree = this.tree(value, spot, depth + 1)
      if (name.text === '<<' && !name.quoted) merged.push(tree)
      else if (entries.has(name.text))
        this.faults.push({
          place: keyPlace(spot),
          message: `the key '${name.text}' is written twice`,
        })
      else entries.set(name.text, tree)
    }
    for (const tree of merged) this.#merge(tree, entries)
    return { kind: 'mapping', entries, place }
  }

  #key(key: Node, place: Place): Scalar | null {
    const tree = this.tree(key, place, 0)
    const fits = tree.kind === 'scalar' && tree.text.length <= MAX_KEY_LENGTH
    if (fits) return tree
    const message = `a key must be text of at most ${MAX_KEY_LENGTH} characters`
    this.faults.push({ place, message })
    return null
  }

  /** `<<: *base`, or a list of them: what is written out wins, and of a list the first. */
  #merge(tree: Tree, into: Map<string, Tree>): void {
    const sources = tree.kind === 'list' ? tree.items : [tree]
    for (const source of sources) {
      if (source.kind === 'mapping') {
        for (const [key, value] of source.entries) if (!into.has(key)) into.set(key, value)
      } else
        this.faults.push({ place: source.place, message: '<< takes a mapping or a list of them' })
    }
  }
}

const STANDARD_TAGS = new Set(['str', 'int', 'float', 'bool', 'null', 'map', 'seq'])

const nothingAt = (place: Place): Scalar => ({ kind: 'scalar', text: '', quoted: false, place })

function offsetOf(node: Node | null, around: Place, otherwise = around.offset): number {
  return node?.range?.[0] ?? otherwise
}

/** The same value, pointed at by its key. */
export const keyPlace = (place: Place): Place => ({ ...place, offset: place.keyOffset })

/** `services.web.expose[0].port`; empty for the whole file. */
export function pathOf(place: Place): string {
  const steps: string[] = []
  for (let at: Place | null = place; at?.parent; at = at.parent) {
    if (typeof at.key === 'number') steps.push(`[${at.key}]`)
    else steps.push(/^[\w/*-]+$/.test(at.key) ? `.${at.key}` : `[${JSON.stringify(at.key)}]`)
  }
  return steps.toReversed().join('').replace(/^\./, '')
}

/** Null, as YAML writes it: nothing at all, `~` or `null`. */
export const isNothing = (tree: Tree): boolean =>
  tree.kind === 'scalar' && !tree.quoted && /^(|~|null|Null|NULL)$/.test(tree.text)
