/**
 * A model file's SHA-256, written down when it was first read. Offers promise it by that digest, so a file
 * that changes under a running network is refused by name instead of being served as what it is not.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { Fault } from '../../../core/base/refusal.ts'

export type ModelFile = {
  readonly path: string
  /** Lower-case hex. */
  readonly sha256: string
  readonly bytes: number
}

const pinSchema = z.object({
  path: z.string(),
  source: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().min(0),
  modifiedAtMs: z.number(),
})

/** The four bytes every GGUF file begins with. */
export const GGUF_MAGIC = Buffer.from('GGUF')

/**
 * The file at `path`, as it was pinned in `pinPath`, or pinned now. Reads it whole only when its size or
 * time changed. Throws a Fault when it is not there, is no GGUF, or is not the file it was.
 */
export async function pinned(
  path: string,
  pinPath: string,
  source: string,
  signal: AbortSignal,
): Promise<ModelFile> {
  await checkMagic(path)
  const { size: bytes, mtimeMs: modifiedAtMs } = await stat(path)
  const pin = await readPin(pinPath)
  if (pin?.path === path && pin.bytes === bytes && pin.modifiedAtMs === modifiedAtMs)
    return { path, sha256: pin.sha256, bytes }
  const sha256 = await hashFile(path, signal)
  if (pin?.path === path && pin.sha256 !== sha256)
    throw new Fault(
      'model_file_changed',
      `${path} is not the file it was: SHA-256 ${pin.sha256} when it was pinned, ${sha256} now. ` +
        `Put the old file back, or remove ${pinPath} to serve the new one.`,
    )
  await writePin(pinPath, { path, source, sha256, bytes, modifiedAtMs })
  return { path, sha256, bytes }
}

/** Pins a file whose hash is known already. */
export async function pinAs(
  path: string,
  pinPath: string,
  source: string,
  sha256: string,
): Promise<void> {
  const { size: bytes, mtimeMs: modifiedAtMs } = await stat(path)
  await writePin(pinPath, { path, source, sha256, bytes, modifiedAtMs })
}

async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const file = createReadStream(path, { highWaterMark: 1024 * 1024, signal })
  for await (const part of file as AsyncIterable<Buffer>) hash.update(part)
  return hash.digest('hex')
}

async function checkMagic(path: string): Promise<void> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new Fault('model_file_missing', `cannot read the model file ${path}; check the path`, {
      cause: error,
    })
  })
  try {
    const info = await file.stat()
    const head = Buffer.alloc(GGUF_MAGIC.length)
    if (info.isFile()) await file.read(head, 0, head.length, 0)
    if (!head.equals(GGUF_MAGIC))
      throw new Fault('model_file_not_gguf', `${path} is not a GGUF model file`)
  } finally {
    await file.close()
  }
}

async function readPin(pinPath: string): Promise<z.infer<typeof pinSchema> | null> {
  const text = await readFile(pinPath, 'utf8').catch(() => null)
  if (text === null) return null
  try {
    return pinSchema.parse(JSON.parse(text))
  } catch (error) {
    throw new Fault('model_pin_unreadable', `${pinPath} is damaged; remove it to pin again`, {
      cause: error,
    })
  }
}

async function writePin(pinPath: string, pin: z.infer<typeof pinSchema>): Promise<void> {
  await mkdir(dirname(pinPath), { recursive: true, mode: 0o700 })
  // Another process may pin the same file: each writes its own, the last rename wins, both say the same.
  const temporary = `${pinPath}.${process.pid}`
  await writeFile(temporary, `${JSON.stringify(pin, null, 2)}\n`, { mode: 0o600 })
  await rename(temporary, pinPath)
}
