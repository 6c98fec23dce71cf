/**
 * One byte string for one value: what gets signed and hashed. RFC 8785 (JCS) over strings, booleans, null,
 * safe integers, arrays and plain objects. Fractions, bigints and undefined are bugs here: money travels as text.
 */
export type Canonical =
  | string
  | number
  | boolean
  | null
  | readonly Canonical[]
  | { readonly [key: string]: Canonical }

export function canonicalJson(value: Canonical): string {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError(`not a safe integer: ${value}`)
    return Object.is(value, -0) ? '0' : String(value)
  }
  if (value === null || typeof value === 'boolean' || typeof value === 'string')
    return JSON.stringify(value)
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object') throw new TypeError(`cannot sign a ${typeof value}`)
  const members = Object.keys(value)
    .toSorted(byUtf16)
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(member(value, key))}`)
  return `{${members.join(',')}}`
}

const isList = (value: Canonical): value is readonly Canonical[] => Array.isArray(value)

function member(value: { readonly [key: string]: Canonical }, key: string): Canonical {
  const found = value[key]
  if (found === undefined) throw new TypeError(`cannot sign undefined, at ${key}`)
  return found
}

const byUtf16 = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
