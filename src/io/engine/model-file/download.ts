/** Downloads a file over as many connections as it takes: each goes on where the last one broke off. */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../../core/base/refusal.ts'
import { shown, type ModelSource } from './model-source.ts'
import { lost, openUrl } from './open-url.ts'
import { PartFile, type PartOrigin } from './part-file.ts'

export type DownloadProgress = {
  readonly bytes: number
  /** Null: the server does not say. */
  readonly totalBytes: number | null
  /** Over this connection. */
  readonly bytesPerSecond: number
  readonly etaS: number | null
}

export type DownloadOptions = {
  readonly source: Extract<ModelSource, { kind: 'web' }>
  readonly target: string
  readonly expectedSha256: string | null
  readonly maxBytes: number
  /** Connections that may fail in a row without a single new byte. */
  readonly attempts: number
  /** Doubles with each failure in a row, up to a minute. */
  readonly retryMs: number
  readonly freeBytes: () => Promise<number>
  readonly progress: (progress: DownloadProgress) => void
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

/** Left free beside the file: a full disk stops receipts and the database first. */
const SPARE_BYTES = 256 * 1024 * 1024
const MAX_RETRY_MS = 60_000
const PROGRESS_MS = 500

/** Resolves with its SHA-256 when `target` holds the whole, checked file. Throws a Fault; the part stays for the next time. */
export async function download(options: DownloadOptions): Promise<string> {
  const { source, target, signal } = options
  const part = await PartFile.open(target, source.url.href, signal)
  try {
    const told = await pullAll(part, options)
    const expected = options.expectedSha256 ?? told
    const { sha256 } = part
    if (expected !== null && sha256 !== expected) {
      await part.remove()
      throw new Fault(
        'model_file_wrong_hash',
        `${shown(source.url)} has SHA-256 ${sha256}, not ${expected}; the download was removed. ` +
          'Check the expected hash, or whether the file was replaced at its source.',
      )
    }
    await part.moveTo(target)
    return sha256
  } catch (error) {
    await part.close().catch(() => {})
    throw error
  }
}

/** Returns the SHA-256 that the source told, if it did. */
async function pullAll(part: PartFile, options: DownloadOptions): Promise<string | null> {
  const { attempts, retryMs, say, signal } = options
  for (let failures = 0; ; failures++) {
    const before = part.bytes
    try {
      return await pull(part, options)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Fault) || !error.retryable) throw error
      if (part.bytes > before) failures = 0
      if (failures + 1 >= attempts) throw error
      const waitMs = Math.min(MAX_RETRY_MS, retryMs * 2 ** failures)
      say(`${error.message}; trying again in ${(waitMs / 1000).toFixed(1)} s`)
      await sleep(waitMs, undefined, { signal })
    }
  }
}

/** One connection: from the bytes that are there to the end. */
async function pull(part: PartFile, options: DownloadOptions): Promise<string | null> {
  const { url, token } = options.source
  const { validator = null } = part.origin ?? {}
  const goingOn = part.bytes > 0 && validator !== null
  const headers = goingOn ? { range: `bytes=${part.bytes}-`, 'if-range': validator } : {}
  const { answer, toldSha256 } = await openUrl({ url, token, headers, signal: options.signal })
  try {
    if (goingOn && isWholeAlready(answer, part.bytes)) return toldSha256
    await meet(part, answer, options)
    await receive(part, answer, options)
    return toldSha256
  } finally {
    answer.destroy()
  }
}

/** A range that begins at the end: the last run stopped between the last byte and the rename. */
const isWholeAlready = (answer: IncomingMessage, bytes: number): boolean =>
  answer.statusCode === 416 && answer.headers['content-range'] === `bytes */${bytes}`

/** Brings the part in line with what the server is about to send. */
async function meet(
  part: PartFile,
  answer: IncomingMessage,
  { source, maxBytes, freeBytes, say }: DownloadOptions,
): Promise<void> {
  const range = readRange(answer)
  const from = range?.from ?? 0
  const totalBytes = range ? range.total : lengthOf(answer)
  const fits = range === null || (from === part.bytes && part.origin?.totalBytes === totalBytes)
  if (answer.statusCode === 416 || (answer.statusCode === 206 && !fits)) {
    await part.restart()
    throw lost(source.url, new Error('the part does not fit the file any more'))
  }
  checkStatus(answer, source)
  if (answer.statusCode === 200 && part.bytes > 0) {
    say(`${shown(source.url)} changed or cannot go on in the middle; starting again`)
    await part.restart()
  }
  if (totalBytes !== null && totalBytes > maxBytes)
    throw new Fault('model_file_too_large', `it has ${totalBytes} bytes; the limit is ${maxBytes}`)
  const need = (totalBytes ?? 0) - part.bytes + SPARE_BYTES
  const free = await freeBytes()
  if (need > free)
    throw new Fault(
      'disk_full',
      `the download needs ${mib(need)} MiB of disk and ${mib(free)} MiB are free; make room, or choose a smaller quantization`,
    )
  const origin: PartOrigin = { url: source.url.href, validator: validatorOf(answer), totalBytes }
  if (part.bytes === 0) await part.begin(origin)
}

async function receive(
  part: PartFile,
  answer: IncomingMessage,
  { source, maxBytes, progress }: DownloadOptions,
): Promise<void> {
  const totalBytes = part.origin?.totalBytes ?? null
  const startedAt = performance.now()
  const startBytes = part.bytes
  let reportedAt = startedAt
  const report = (now: number) => {
    const bytesPerSecond = ((part.bytes - startBytes) / Math.max(1, now - startedAt)) * 1000
    const left = totalBytes === null ? null : totalBytes - part.bytes
    const etaS = left === null || bytesPerSecond === 0 ? null : Math.ceil(left / bytesPerSecond)
    progress({ bytes: part.bytes, totalBytes, bytesPerSecond, etaS })
  }
  try {
    for await (const bytes of answer as AsyncIterable<Buffer>) {
      if (part.bytes + bytes.length > (totalBytes ?? maxBytes))
        throw new Fault('model_file_too_large', 'the server sends more bytes than it said or may')
      await part.append(bytes)
      const now = performance.now()
      if (now - reportedAt >= PROGRESS_MS) report((reportedAt = now))
    }
  } catch (error) {
    throw error instanceof Fault ? error : lost(source.url, error)
  }
  if (totalBytes !== null && part.bytes < totalBytes)
    throw lost(source.url, new Error(`${part.bytes} of ${totalBytes} bytes came`))
  report(performance.now())
}

function checkStatus(answer: IncomingMessage, { url, token }: DownloadOptions['source']): void {
  const status = answer.statusCode ?? 0
  if (status === 200 || status === 206) return
  const where = `${shown(url)} answered ${status}`
  if (status === 401 || status === 403) {
    const fix = token === null ? 'set HF_TOKEN for a gated model' : 'does HF_TOKEN have access?'
    throw new Fault('model_download_denied', `${where}: ${fix}`)
  }
  if (status === 404 || status === 410)
    throw new Fault('model_file_missing', `${where}: there is no such file; check its name`)
  const retryable = status === 408 || status === 429 || status >= 500
  throw new Fault('model_download', where, { retryable })
}

function readRange(answer: IncomingMessage): { from: number; total: number } | null {
  if (answer.statusCode !== 206) return null
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers['content-range'] ?? '')
  return match ? { from: Number(match[1]), total: Number(match[2]) } : { from: -1, total: -1 }
}

function lengthOf(answer: IncomingMessage): number | null {
  const length = Number(answer.headers['content-length'] ?? Number.NaN)
  return Number.isSafeInteger(length) ? length : null
}

/** If-Range takes a strong ETag or a date; a weak ETag promises too little. */
function validatorOf({ headers }: IncomingMessage): string | null {
  const { etag } = headers
  if (etag !== undefined && !etag.startsWith('W/')) return etag
  return headers['last-modified'] ?? null
}

const mib = (bytes: number): number => Math.ceil(bytes / 1024 / 1024)
