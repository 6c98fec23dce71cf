/**
 * How a spool is written on disk: one line a record, each with its own checksum, so that a line torn by a
 * crash is known for what it is.
 *
 *   <crc32 of the rest, 8 hex> <kind> <payload>\n
 *
 *   R  a receipt's exact text: the chain goes on from it
 *   A  receipt ids with a space between: acknowledged, may be forgotten
 *   C  {"carry","previous"}: where the chain stands, when the receipt it stands on is gone
 */
import { crc32 } from 'node:zlib'

export type RecordKind = 'R' | 'A' | 'C'
export type SpoolRecord = { readonly kind: RecordKind; readonly payload: string }

export type ReadSpool = {
  readonly records: readonly SpoolRecord[]
  /** Bytes at the end that are no whole record: what a crash tore. Never offered to anyone, so safe to cut. */
  readonly tornBytes: number
  /** Bytes before a later good record that are no record: the disk lost something it had promised to keep. */
  readonly damagedBytes: number
}

const NEWLINE = 0x0a
const HEAD_BYTES = 'xxxxxxxx K '.length

/** One line; the payload must hold no line break, which JSON and ids never do. */
export function encodeRecord(kind: RecordKind, payload: string): string {
  const body = `${kind} ${payload}`
  return `${checksum(body)} ${body}\n`
}

/** Reads every record that is whole, and says how much is not. */
export function readRecords(bytes: Buffer): ReadSpool {
  const records: SpoolRecord[] = []
  let bad = 0
  let damagedBytes = 0
  let at = 0
  while (at < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, at)
    const end = newline === -1 ? bytes.length : newline + 1
    const record = newline === -1 ? null : readLine(bytes.toString('utf8', at, newline))
    if (record) {
      records.push(record)
      damagedBytes += bad
      bad = 0
    } else bad += end - at
    at = end
  }
  return { records, tornBytes: bad, damagedBytes }
}

function readLine(line: string): SpoolRecord | null {
  if (line.length < HEAD_BYTES || line[8] !== ' ' || line[10] !== ' ') return null
  const kind = kinds.find((known) => known === line[9])
  if (kind === undefined || checksum(line.slice(9)) !== line.slice(0, 8)) return null
  return { kind, payload: line.slice(HEAD_BYTES) }
}

const kinds: readonly RecordKind[] = ['R', 'A', 'C']

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0')
