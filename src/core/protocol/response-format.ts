/** `response_format`: free text, any JSON object, or JSON that a schema describes. */
import { refuse, type Refusal } from '../base/refusal.ts'
import { invalid, isRecord } from './read-fields.ts'

export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json_object' }
  | { readonly type: 'json_schema'; readonly schema: Readonly<Record<string, unknown>> }

/** Deeper schemas make grammars that no engine finishes compiling. */
export const MAX_SCHEMA_DEPTH = 32

export function readFormat(value: unknown): ResponseFormat | Refusal {
  if (value == null) return { type: 'text' }
  if (!isRecord(value)) return invalid('response_format', 'an object', value)
  switch (value['type']) {
    case 'text':
      return { type: 'text' }
    case 'json_object':
      return { type: 'json_object' }
    case 'json_schema': {
      const named = value['json_schema']
      const schema = isRecord(named) ? named['schema'] : undefined
      if (!isRecord(schema))
        return invalid('response_format.json_schema.schema', 'a JSON schema object', schema)
      if (depthOf(schema, MAX_SCHEMA_DEPTH) > MAX_SCHEMA_DEPTH) {
        return refuse(
          'invalid_value',
          `The JSON schema is nested deeper than ${MAX_SCHEMA_DEPTH}.`,
          { param: 'response_format' },
        )
      }
      return { type: 'json_schema', schema }
    }
    default:
      return invalid(
        'response_format.type',
        "'text', 'json_object' or 'json_schema'",
        value['type'],
      )
  }
}

/** Depth of a JSON value, looked at no further than one below `limit`. */
function depthOf(value: unknown, limit: number): number {
  if (limit < 0 || typeof value !== 'object' || value === null) return 0
  let deepest = 0
  for (const child of Object.values(value)) deepest = Math.max(deepest, depthOf(child, limit - 1))
  return deepest + 1
}
