/** From what a provider writes after `--model` to a checked, pinned file on this machine. */
import { createHash } from 'node:crypto'
import { access, statfs } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { Fault } from '../../../core/base/refusal.ts'
import { withDownloadLock } from './download-lock.ts'
import { download, type DownloadProgress } from './download.ts'
import { parseModelSource, type SourceEnv } from './model-source.ts'
import { pinAs, pinned, type ModelFile } from './pin.ts'

export type ObtainOptions = {
  /** Downloads and pins live here; made when missing. */
  readonly folder: string
  readonly signal: AbortSignal
  /** Hex; a file with another hash is refused. */
  readonly expectedSha256?: string
  /** Default 1 TiB: beyond any model, below a disk that a lying server would fill. */
  readonly maxBytes?: number
  readonly progress?: (progress: DownloadProgress) => void
  /** A line for people about anything unexpected. */
  readonly say?: (line: string) => void
  /** Default: this process's. Only HF_ENDPOINT and HF_TOKEN are read. */
  readonly env?: SourceEnv
  /** Default: 8 connections in a row without a new byte, 1 s before the second. */
  readonly attempts?: number
  readonly retryMs?: number
  /** Default: asks the file system. */
  readonly freeBytes?: (folder: string) => Promise<number>
}

const MAX_MODEL_BYTES = 1024 ** 4

/**
 * `source`: a path to a .gguf file, an https address (http on loopback), or hf:org/repo/file.gguf. A second
 * call finds the file of the first. Throws a Fault that names the file, the cause and what to do.
 */
export async function obtainModelFile(source: string, options: ObtainOptions): Promise<ModelFile> {
  const { signal, say = () => {}, env = process.env } = options
  const parsed = parseModelSource(source, env)
  const folder = resolve(options.folder)
  if (parsed.kind === 'path') {
    const mark = createHash('sha256').update(parsed.path).digest('hex').slice(0, 8)
    const pin = join(folder, 'pins', `${basename(parsed.path)}-${mark}.json`)
    return expected(await pinned(parsed.path, pin, source, signal), options)
  }
  const target = join(folder, parsed.place)
  const pin = `${target}.pin.json`
  await withDownloadLock(target, signal, say, async () => {
    if (await exists(target)) return
    const { freeBytes = freeBytesOf } = options
    const sha256 = await download({
      source: parsed,
      target,
      expectedSha256: options.expectedSha256?.toLowerCase() ?? null,
      maxBytes: options.maxBytes ?? MAX_MODEL_BYTES,
      attempts: options.attempts ?? 8,
      retryMs: options.retryMs ?? 1_000,
      freeBytes: () => freeBytes(folder),
      progress: options.progress ?? (() => {}),
      say,
      signal,
    })
    await pinAs(target, pin, source, sha256)
  })
  return expected(await pinned(target, pin, source, signal), options)
}

function expected(file: ModelFile, { expectedSha256 }: ObtainOptions): ModelFile {
  if (expectedSha256 === undefined || expectedSha256.toLowerCase() === file.sha256) return file
  throw new Fault(
    'model_file_wrong_hash',
    `${file.path} has SHA-256 ${file.sha256}, not ${expectedSha256}; remove it to download it again, or correct the expected hash`,
  )
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}
