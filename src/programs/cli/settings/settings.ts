/**
 * A role's settings come from one zod schema, which is also the manual: flags win over the environment, the
 * environment over the config file, the file over the defaults. A wrong value says which of them it came from.
 */
import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { isRecord } from '../../../core/protocol/read-fields.ts'
import { fieldsOf, type Field } from './fields.ts'
import { nearName } from './near-name.ts'

/** The sections of config.json: one a role, so that one file can serve a whole machine. */
export const ROLES = ['up', 'gateway', 'node', 'client'] as const
export type Role = (typeof ROLES)[number]

export type Sources = {
  readonly role: Role
  /** Below everything else: what this machine decides, such as the home folder. */
  readonly fallback: Readonly<Record<string, unknown>>
  /** The parsed section of the config file and the file's path; null: there is no file. */
  readonly file: {
    readonly path: string
    readonly values: Readonly<Record<string, unknown>>
  } | null
  readonly env: Readonly<Record<string, string | undefined>>
  /** By field name, as commander collects them; undefined: not given. */
  readonly flags: Readonly<Record<string, unknown>>
  /** What the command line calls a field whose flag is not named for it. */
  readonly flagNames?: Readonly<Record<string, string>>
}

/** Merges and checks. Throws Fault `invalid_settings` that names every wrong value and its source. */
export function mergeSettings<S extends z.ZodObject>(schema: S, sources: Sources): z.output<S> {
  const fields = fieldsOf(schema)
  const problems = strangers(fields, sources)
  const values: Record<string, unknown> = {}
  const origins = new Map<string, string>()
  for (const field of fields) {
    const found = find(field, sources)
    if (found === null) continue
    const value = found.textual ? fromText(field, found.value) : fromJson(field, found.value)
    if (value instanceof Problem) problems.push(`${field.key} (${found.origin}): ${value.message}`)
    values[field.key] = value
    origins.set(field.key, found.origin)
  }
  if (problems.length > 0) throw invalid(problems)
  const parsed = schema.safeParse(values)
  if (parsed.success) return parsed.data
  throw invalid(parsed.error.issues.map((issue) => issueText(issue, fields, origins, values)))
}

/** Reads one role's section. A missing file is fine unless the path was asked for. */
export function readConfigFile(path: string, role: Role, required: boolean): Sources['file'] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (!required && error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return null
    throw invalid([`cannot read ${path}: ${reasonOf(error)}`])
  }
  const sections = parseJson(text, path)
  const stray = Object.keys(sections).filter((key) => !ROLES.some((known) => known === key))
  if (stray.length > 0) throw invalid(stray.map((key) => unknownName(key, ROLES, path, 'section')))
  const values = sections[role] ?? {}
  if (!isRecord(values)) throw invalid([`${path}: "${role}" must be an object`])
  return { path, values }
}

function parseJson(text: string, path: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw invalid([`${path} is not JSON: ${reasonOf(error)}`])
  }
  if (!isRecord(value))
    throw invalid([`${path} must hold an object with sections ${ROLES.join(', ')}`])
  return value
}

/** A value that cannot be read as its field's type. */
class Problem {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

type Found = { value: unknown; origin: string; textual: boolean }

function find(field: Field, sources: Sources): Found | null {
  const { flags, flagNames = {}, env, file, fallback } = sources
  const flag = flagNames[field.key] ?? field.flag
  if (flags[field.key] !== undefined)
    return { value: flags[field.key], origin: `from ${flag}`, textual: true }
  const set = field.env.find((name) => env[name] !== undefined && env[name] !== '')
  if (set !== undefined) return { value: env[set], origin: `from ${set}`, textual: true }
  if (file && file.values[field.key] !== undefined)
    return { value: file.values[field.key], origin: `from ${file.path}`, textual: false }
  if (fallback[field.key] !== undefined)
    return { value: fallback[field.key], origin: 'by default', textual: false }
  return null
}

/** Flags and the environment give text (or, for flags, booleans and lists of text). */
function fromText(field: Field, value: unknown): unknown {
  if (typeof value !== 'string') return fromJson(field, value)
  switch (field.kind) {
    case 'text':
      return value
    case 'boolean':
      return booleanOf(value)
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(value.trim())
        ? Number(value)
        : new Problem(`'${value}' is not a number`)
    case 'list':
      return value.trimStart().startsWith('[')
        ? jsonOf(value)
        : value.split(',').map((s) => s.trim())
    case 'object':
      return jsonOf(value)
  }
}

/** The words of zod's stringbool, so that "false" is never true. */
function booleanOf(value: string): boolean | Problem {
  const word = value.toLowerCase()
  if (['true', '1', 'yes', 'on', 'y', 'enabled'].includes(word)) return true
  if (['false', '0', 'no', 'off', 'n', 'disabled'].includes(word)) return false
  return new Problem(`'${value}' is neither true nor false`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    return new Problem(`it is not JSON: ${reasonOf(error)}`)
  }
}

/** The file has real types: a number there is a number, so that coercion cannot read `true` as 1. */
function fromJson(field: Field, value: unknown): unknown {
  if (value === null) return value
  const fits = {
    text: typeof value === 'string',
    boolean: typeof value === 'boolean',
    number: typeof value === 'number',
    list: Array.isArray(value),
    object: typeof value === 'object' && !Array.isArray(value),
  }[field.kind]
  return fits ? value : new Problem(`must be ${WORDS[field.kind]}, not ${JSON.stringify(value)}`)
}

const WORDS: Record<Field['kind'], string> = {
  text: 'a text in quotes',
  boolean: 'true or false',
  number: 'a number',
  list: 'a list',
  object: 'an object',
}

function strangers(fields: readonly Field[], { file }: Sources): string[] {
  if (!file) return []
  const known = fields.map((field) => field.key)
  return Object.keys(file.values)
    .filter((key) => !known.includes(key))
    .map((key) => unknownName(key, known, file.path, 'setting'))
}

function unknownName(name: string, known: readonly string[], path: string, what: string): string {
  const near = nearName(name, known)
  const hint = near === null ? `known: ${known.join(', ')}` : `did you mean "${near}"?`
  return `${path}: unknown ${what} "${name}"; ${hint}`
}

type Issue = z.core.$ZodIssue

function issueText(
  issue: Issue,
  fields: readonly Field[],
  origins: ReadonlyMap<string, string>,
  values: Readonly<Record<string, unknown>>,
): string {
  const key = String(issue.path[0] ?? '')
  const field = fields.find((one) => one.key === key)
  const path = issue.path.join('.')
  const origin = origins.get(key)
  if (field && origin === undefined) {
    const give = field.secret ? '' : `give ${field.flag} or `
    return `${path} is missing: ${give}set ${field.env.at(-1)}`
  }
  // A secret (a URL with a password) must not come back in an error message.
  const got = field?.secret ? '' : `; got ${JSON.stringify(valueAt(values, issue.path))}`
  return `${path} (${origin ?? 'settings'}): ${issue.message}${got}`
}

/** The wrong part itself, not the whole setting around it. */
function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  let value = values
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return value
    value = Reflect.get(value, key)
  }
  return value
}

const invalid = (problems: readonly string[]): Fault =>
  new Fault(
    'invalid_settings',
    problems.length === 1 ? String(problems[0]) : `\n  - ${problems.join('\n  - ')}`,
  )
