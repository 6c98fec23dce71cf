/**
 * JSON schemas in the dialect that llama.cpp's library compiles. It ignores what it does not know, which would
 * promise a shape and not keep it: so every keyword is translated here, or refused by name.
 */
import { isRefusal, reasonOf, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { isRecord, type Fields } from '../../../core/protocol/read-fields.ts'
import type { ResponseFormat } from '../../../core/protocol/response-format.ts'
import type { Llama, LlamaGrammar } from './llama-binding.ts'

/** Compiling is synchronous: bigger schemas would stop the node's heartbeats. */
const MAX_SCHEMA_PARTS = 2000
const MAX_REPETITIONS = 1000

/** Null for free text. */
export async function compileFormat(
  format: ResponseFormat,
  llama: Llama,
): Promise<LlamaGrammar | null | Refusal> {
  switch (format.type) {
    case 'text':
      return null
    case 'json_object':
      return await llama.getGrammarFor('json')
    case 'json_schema': {
      const schema = translateSchema(format.schema)
      if (isRefusal(schema)) return schema
      try {
        const { grammar } = await llama.createGrammarForJsonSchema(schema)
        return await llama.createGrammar({ grammar: withoutTrailer(grammar) })
      } catch (error) {
        return unsupported(ROOT, `does not compile: ${reasonOf(error)}`)
      }
    }
  }
}

/** The library ends each answer with four newlines, its own sign to stop; the model's end token does that better. */
function withoutTrailer(grammar: string): string {
  const trailer = ' "\\n\\n\\n\\n" [\\n]*'
  if (!grammar.includes(trailer)) throw new Error('unexpected grammar')
  return grammar.replace(trailer, '')
}

const ROOT = 'response_format.json_schema.schema'

/** The same schema with only what the library understands, or which keyword it cannot keep. */
export function translateSchema(schema: Fields): Fields | Refusal {
  const { $defs, definitions = $defs, ...root } = schema
  const translation = new Translation(isRecord(definitions) ? Object.keys(definitions) : [])
  const shape = translation.translate(root, ROOT)
  if (isRefusal(shape) || definitions === undefined) return shape
  const translated = translation.each(definitions, `${ROOT}.$defs`)
  return isRefusal(translated) ? translated : { ...shape, $defs: translated }
}

class Translation {
  readonly #definitions: readonly string[]
  #parts = 0

  constructor(definitions: readonly string[]) {
    this.#definitions = definitions
  }

  translate(schema: unknown, path: string): Fields | Refusal {
    this.#parts += 1
    if (this.#parts > MAX_SCHEMA_PARTS)
      return unsupported(path, `has more than ${MAX_SCHEMA_PARTS} parts in all`)
    if (!isRecord(schema)) return unsupported(path, 'is not a schema object')
    return this.#shape(schema, path)
  }

  #shape(schema: Fields, path: string): Fields | Refusal {
    if ('$ref' in schema)
      return this.#only(schema, path, ['$ref']) ?? this.#reference(schema['$ref'], path)
    for (const key of ['anyOf', 'oneOf'] as const) {
      if (key in schema)
        return this.#only(schema, path, [key]) ?? this.#choice(schema[key], `${path}.${key}`)
    }
    if ('const' in schema)
      return (
        this.#only(schema, path, ['const', 'type']) ?? literals('const', [schema['const']], path)
      )
    if ('enum' in schema)
      return this.#only(schema, path, ['enum', 'type']) ?? literals('enum', schema['enum'], path)
    const { type = 'properties' in schema ? 'object' : undefined } = schema
    if (!Array.isArray(type)) return this.#typed({ ...schema, type }, path)
    return this.#choice(
      type.map((one: unknown) => typed(schema, one)),
      path,
    )
  }

  #typed(schema: Fields, path: string): Fields | Refusal {
    const { type } = schema
    switch (type) {
      case 'object':
        return this.#only(schema, path, OBJECT) ?? this.#object(schema, path)
      case 'array':
        return this.#only(schema, path, ARRAY) ?? this.#array(schema, path)
      case 'string':
        return this.#only(schema, path, STRING) ?? string(schema, path)
      case 'number':
      case 'integer':
      case 'boolean':
      case 'null':
        return this.#only(schema, path, ['type']) ?? { type }
      default:
        return unsupported(path, "needs a 'type': any value at all cannot be promised")
    }
  }

  #object(schema: Fields, path: string): Fields | Refusal {
    const properties = this.each(schema['properties'] ?? {}, `${path}.properties`)
    if (isRefusal(properties)) return properties
    for (const name of Array.isArray(schema['required']) ? schema['required'] : []) {
      if (!Object.hasOwn(properties, String(name)))
        return unsupported(
          `${path}.required`,
          `names '${String(name).slice(0, 40)}', which has no schema`,
        )
    }
    // Every named property is always written: allowed, whether it is required or not.
    const extra = schema['additionalProperties']
    if (extra === undefined || extra === false) return { type: 'object', properties }
    const additionalProperties =
      extra === true ? true : this.translate(extra, `${path}.additionalProperties`)
    if (isRefusal(additionalProperties)) return additionalProperties
    return { type: 'object', properties, additionalProperties }
  }

  #array(schema: Fields, path: string): Fields | Refusal {
    const bounds = limits(schema, ['minItems', 'maxItems'], path)
    if (isRefusal(bounds)) return bounds
    if (schema['items'] === undefined)
      return unsupported(path, "needs 'items': any value at all cannot be promised")
    const items = this.translate(schema['items'], `${path}.items`)
    return isRefusal(items) ? items : { type: 'array', items, ...bounds }
  }

  #choice(options: unknown, path: string): Fields | Refusal {
    if (!Array.isArray(options) || options.length === 0)
      return unsupported(path, 'must be a list of schemas')
    const oneOf: Fields[] = []
    for (const [index, option] of options.entries()) {
      const one = this.translate(option, `${path}[${index}]`)
      if (isRefusal(one)) return one
      oneOf.push(one)
    }
    return { oneOf }
  }

  each(schemas: unknown, path: string): Fields | Refusal {
    if (!isRecord(schemas)) return unsupported(path, 'must be an object')
    const translated: [string, Fields][] = []
    for (const [name, schema] of Object.entries(schemas)) {
      const one = this.translate(schema, `${path}.${name}`)
      if (isRefusal(one)) return one
      translated.push([name, one])
    }
    return Object.fromEntries(translated)
  }

  #reference(target: unknown, path: string): Fields | Refusal {
    const name = /^#\/(?:\$defs|definitions)\/(.+)$/.exec(String(target))?.[1]
    if (name === undefined || !this.#definitions.includes(name))
      return unsupported(`${path}.$ref`, "must name one of the root's '#/$defs/…'")
    return { $ref: `#/$defs/${name}` }
  }

  /** Refuses the first keyword that means something and that we would not keep. */
  #only(schema: Fields, path: string, understood: readonly string[]): Refusal | null {
    for (const key of Object.keys(schema)) {
      if (!understood.includes(key) && !ANNOTATIONS.has(key))
        return unsupported(`${path}.${key}`, 'is a JSON schema keyword that llama.cpp cannot keep')
    }
    return null
  }
}

const OBJECT = ['type', 'properties', 'required', 'additionalProperties']
const ARRAY = ['type', 'items', 'minItems', 'maxItems']
const STRING = ['type', 'minLength', 'maxLength', 'format']
/** The keywords of each type, so that `type: ['string', 'null']` splits into two schemas. */
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: OBJECT,
  array: ARRAY,
  string: STRING,
}
const SPLIT_KEYWORDS = new Set(Object.values(KEYWORDS).flat())

/** Keywords that only explain. */
const ANNOTATIONS = new Set(
  'title description default examples $schema $id $comment deprecated readOnly writeOnly strict'.split(
    ' ',
  ),
)

/** One type of several: leaves out the keywords that speak of the others. */
function typed(schema: Fields, type: unknown): Fields {
  const own = KEYWORDS[String(type)] ?? []
  const kept = Object.entries(schema).filter(
    ([key]) => !SPLIT_KEYWORDS.has(key) || own.includes(key),
  )
  return { ...Object.fromEntries(kept), type }
}

function string(schema: Fields, path: string): Fields | Refusal {
  const { format } = schema
  const bounds = limits(schema, ['minLength', 'maxLength'], path)
  if (isRefusal(bounds)) return bounds
  if (format === undefined) return { type: 'string', ...bounds }
  if (format !== 'date' && format !== 'time' && format !== 'date-time')
    return unsupported(`${path}.format`, "can only be 'date', 'time' or 'date-time'")
  if (Object.keys(bounds).length > 0)
    return unsupported(`${path}.format`, 'cannot go with a length')
  return { type: 'string', format }
}

function limits(schema: Fields, keys: readonly [string, string], path: string): Fields | Refusal {
  const found: Record<string, number> = {}
  for (const key of keys) {
    const limit = schema[key]
    if (limit === undefined) continue
    if (
      typeof limit !== 'number' ||
      !Number.isInteger(limit) ||
      limit < 0 ||
      limit > MAX_REPETITIONS
    )
      return unsupported(`${path}.${key}`, `must be an integer from 0 to ${MAX_REPETITIONS}`)
    found[key] = limit
  }
  return found
}

function literals(key: 'const' | 'enum', values: unknown, path: string): Fields | Refusal {
  if (!Array.isArray(values) || values.length === 0 || values.length > MAX_REPETITIONS)
    return unsupported(`${path}.${key}`, `must have 1 to ${MAX_REPETITIONS} values`)
  if (values.some((value) => typeof value === 'object' && value !== null))
    return unsupported(`${path}.${key}`, 'can only have strings, numbers, booleans and null')
  return { enum: values }
}

const unsupported = (param: string, why: string): Refusal =>
  refuse('unsupported_feature', `'${param.slice(0, 200)}' ${why}.`, { param: param.slice(0, 200) })
