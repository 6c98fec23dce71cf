/** What is said about an SDL file: each remark with its place, what was found, what is allowed, and an example. */
import type { LineCounter } from 'yaml'
import { pathOf, type Place, type Tree } from './yaml-tree.ts'

/** Enough to mend a file by; the rest usually follows from the first. */
const MAX_REMARKS = 100
const MAX_SHOWN = 80

export type Remark = {
  readonly file: string
  /** Both count from 1. */
  readonly line: number
  readonly column: number
  /** `services.web.expose[0].port`; empty for the whole file. */
  readonly path: string
  readonly message: string
  readonly found: string | null
  readonly allowed: string | null
  readonly example: string | null
}

/** The words of a remark, before it has a place. */
export type Words = {
  readonly message: string
  readonly found?: string
  readonly allowed?: string
  readonly example?: string
}

/** Collects problems, which refuse the file, and warnings, which do not. */
export class Report {
  readonly problems: Remark[] = []
  readonly warnings: Remark[] = []
  readonly #file: string
  readonly #lines: LineCounter

  constructor(file: string, lines: LineCounter) {
    this.#file = file
    this.#lines = lines
  }

  problem(place: Place, words: Words): void {
    this.#add(this.problems, place, words)
  }

  warn(place: Place, words: Words): void {
    this.#add(this.warnings, place, words)
  }

  #add(to: Remark[], place: Place, words: Words): void {
    if (to.length >= MAX_REMARKS) return
    const { line, col } = this.#lines.linePos(place.offset)
    to.push({
      file: this.#file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path: pathOf(place),
      message: words.message,
      found: words.found ?? null,
      allowed: words.allowed ?? null,
      example: words.example ?? null,
    })
  }
}

/** `app.yaml:12:9 services.web.expose[0].port: …`, with what was found, what is allowed and an example. */
export function remarkText(remark: Remark): string {
  const { file, line, column, path, message, found, allowed, example } = remark
  const more = [
    ...(found === null ? [] : [`found ${found}`]),
    ...(allowed === null ? [] : [`allowed: ${allowed}`]),
    ...(example === null ? [] : [`example: ${example}`]),
  ]
  const details = more.length === 0 ? '' : ` (${more.join('; ')})`
  return `${file}:${line}:${column} ${path === '' ? '' : `${path}: `}${message}${details}`
}

/** A value in a few words, for `found`. */
export function shown(tree: Tree): string {
  if (tree.kind === 'list') return `a list of ${tree.items.length}`
  if (tree.kind === 'mapping') {
    const keys = [...tree.entries.keys()].slice(0, 3).join(', ')
    return keys === '' ? 'an empty mapping' : `a mapping (${short(keys)})`
  }
  if (tree.quoted) return `the text "${short(tree.text)}"`
  return tree.text === '' ? 'nothing' : short(tree.text)
}

export const short = (text: string): string =>
  text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
