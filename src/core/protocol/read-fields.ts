/** Reading single fields of untrusted JSON: each reader gives the value or a refusal that names the field. */
import { refuse, type Refusal } from '../base/refusal.ts'

export type Fields = Readonly<Record<string, unknown>>

export const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A whole number from 0 that JavaScript counts exactly. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

/** A short picture of a bad value for a message: never the whole of it. */
export function at(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string')
    return value.length > 40 ? `'${value.slice(0, 40)}…'` : `'${value}'`
  if (Array.isArray(value)) return `an array of ${value.length}`
  return typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : value === null
      ? 'null'
      : `an ${typeof value}`
}

/** An integer in [min, max], or null when absent. */
export function boundedInt(
  fields: Fields,
  key: string,
  min: number,
  max: number,
): number | null | Refusal {
  const value = fields[key]
  if (value == null) return null
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max)
    return value
  return refuse(
    'invalid_value',
    `'${key}' must be an integer from ${min} to ${max}; got ${at(value)}.`,
    { param: key },
  )
}

/** A number in [min, max], or the fallback when absent. */
export function boundedNumber(
  fields: Fields,
  key: string,
  min: number,
  max: number,
  fallback: number,
): number | Refusal {
  const value = fields[key]
  if (value == null) return fallback
  if (typeof value === 'number' && value >= min && value <= max) return value
  return refuse(
    'invalid_value',
    `'${key}' must be a number from ${min} to ${max}; got ${at(value)}.`,
    { param: key },
  )
}

export function optionalBoolean(
  fields: Fields,
  key: string,
  fallback: boolean,
  prefix = '',
): boolean | Refusal {
  const value = fields[key]
  if (value == null) return fallback
  if (typeof value === 'boolean') return value
  return refuse('invalid_value', `'${prefix}${key}' must be true or false; got ${at(value)}.`, {
    param: prefix + key,
  })
}

export function oneOf<const T extends string>(
  fields: Fields,
  key: string,
  allowed: readonly T[],
  fallback: T,
  prefix = '',
): T | Refusal {
  const value = fields[key]
  if (value == null) return fallback
  const found = allowed.find((one) => one === value)
  if (found !== undefined) return found
  const list = allowed.map((one) => `'${one}'`).join(', ')
  return refuse('invalid_value', `'${prefix}${key}' must be one of ${list}; got ${at(value)}.`, {
    param: prefix + key,
  })
}

/** A list of short strings; a single string counts as a list of one; absent is empty. */
export function stringList(
  fields: Fields,
  key: string,
  maxItems: number,
  maxLength: number,
  prefix = '',
): string[] | Refusal {
  const value = fields[key]
  if (value == null) return []
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (
    list.length <= maxItems &&
    list.every(
      (item): item is string => typeof item === 'string' && item !== '' && item.length <= maxLength,
    )
  )
    return list
  return refuse(
    'invalid_value',
    `'${prefix}${key}' must be at most ${maxItems} strings of 1 to ${maxLength} characters; got ${at(value)}.`,
    { param: prefix + key },
  )
}

export const missing = (param: string) =>
  refuse('missing_parameter', `Missing required parameter: '${param}'.`, { param })
export const unknown = (param: string) =>
  refuse(
    'unknown_parameter',
    `Unknown parameter: '${param.slice(0, 100)}'. See /openapi.json for what is understood.`,
    { param: param.slice(0, 100) },
  )
export const unsupported = (param: string, why: string) =>
  refuse('unsupported_feature', `'${param}' ${why}.`, { param })
export const invalid = (param: string, wanted: string, got: unknown) =>
  refuse('invalid_value', `'${param}' must be ${wanted}; got ${at(got)}.`, { param })
