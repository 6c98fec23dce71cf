/** JSON in a frame, read by its schema before anyone looks at it. */
import type { z } from 'zod'

/**
 * The value, or what is wrong with it as an Error (a value, not thrown: peers may send anything). For what comes
 * with every request, `isFine` is a cheaper way to the same yes; the schema explains every no.
 */
export function readJson<T>(
  schema: z.ZodType<T>,
  payload: Uint8Array,
  isFine?: (json: unknown) => json is T,
): T | Error {
  let json: unknown
  try {
    json = JSON.parse(textOf(payload))
  } catch {
    return new Error('it is not JSON')
  }
  if (isFine?.(json)) return json
  const read = schema.safeParse(json)
  if (read.success) return read.data
  const issue = read.error.issues[0]
  return new Error(issue ? `${issue.path.join('.') || 'it'}: ${issue.message}` : 'it is malformed')
}

export const writeJson = (value: object): Buffer => Buffer.from(JSON.stringify(value))

export const textOf = (payload: Uint8Array): string =>
  Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString()
