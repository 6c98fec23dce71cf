/** Amounts of CPU and of bytes as SDL files write them. Pure text to numbers; what to say about it is the reader's. */

/** Akash's Go parser knows these, in just this spelling. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['k', 1e3],
  ['Ki', 2 ** 10],
  ['M', 1e6],
  ['Mi', 2 ** 20],
  ['G', 1e9],
  ['Gi', 2 ** 30],
  ['T', 1e12],
  ['Ti', 2 ** 40],
  ['P', 1e15],
  ['Pi', 2 ** 50],
  ['E', 1e18],
  ['Ei', 2 ** 60],
])

export type Quantity = {
  readonly value: number
  /** How it should be written; null when it is. */
  readonly better: string | null
}

const NUMBER = /^(\d+\.?\d*|\.\d+)(?:[eE]([-+]?\d{1,3}))?$/

/**
 * `512Mi`, `1.5Gi`, `1073741824` → bytes, rounded down as in Go. `4GB`, `1gi` and `4GiB` are taken as well: Akash's
 * TypeScript parser reads the first as 4 × 10⁹ and the second as 2³⁰, and nobody means the third otherwise.
 */
export function readBytes(text: string): Quantity | null {
  const match = /^([^a-zA-Z]*(?:[eE][-+]?\d+)?)([a-zA-Z]*)$/.exec(text)
  const number = numberOf(match?.[1] ?? '')
  if (number === null) return null
  const suffix = match?.[2] ?? ''
  const unit = suffix === '' ? 1 : UNITS.get(suffix)
  if (unit !== undefined) return exact(number * unit, null)
  const loose = /^([kmgtpe])(i?)(b?)$/i.exec(suffix)
  if (!loose) return null
  const [, prefix = '', binary = ''] = loose
  const name = binary === '' ? prefix.toUpperCase().replace('K', 'k') : `${prefix.toUpperCase()}i`
  return exact(number * (UNITS.get(name) ?? 1), `${match?.[1]}${name}`)
}

const exact = (value: number, better: string | null): Quantity | null =>
  Number.isSafeInteger(Math.trunc(value)) ? { value: Math.trunc(value), better } : null

function numberOf(text: string): number | null {
  return NUMBER.test(text) ? Number(text) : null
}

/** `500m`, `0.5`, `2` → thousandths of a CPU, rounded down as in Go. */
export function readCpuMilli(text: string): Quantity | null {
  const milli = /^(\d{1,10})([mM])$/.exec(text)
  if (milli) return exact(Number(milli[1]), milli[2] === 'm' ? null : `${milli[1]}m`)
  const number = numberOf(text)
  return number === null ? null : exact(number * 1000, null)
}

const BYTE_STEPS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** 1610612736 → `1.5 GiB`. */
export function bytesText(bytes: number): string {
  let [value, step] = [bytes, 0]
  for (; value >= 1024 && step < BYTE_STEPS.length - 1; step++) value /= 1024
  return `${Number(value.toFixed(2))} ${BYTE_STEPS[step]}`
}

/** 1500 → `1.5 CPU`. */
export const cpuText = (milli: number): string => `${milli / 1000} CPU`

/** Bytes as SDL writes them: the largest binary unit that keeps them whole. */
export function sizeText(bytes: number): string {
  for (const unit of ['Ti', 'Gi', 'Mi', 'Ki']) {
    const size = UNITS.get(unit) ?? 1
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return String(bytes)
}
