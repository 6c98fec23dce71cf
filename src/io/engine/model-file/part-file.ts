/**
 * A download that is not complete yet: `<file>.part`, and `<file>.part.json` which says of what. Bytes are
 * hashed as they are written; after a restart those already there are hashed once more.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { Fault } from '../../../core/base/refusal.ts'
import { GGUF_MAGIC } from './pin.ts'

const originSchema = z.object({
  url: z.string(),
  /** A strong ETag or a date: proof to the server that we hold a part of the same file. */
  validator: z.string().nullable(),
  totalBytes: z.int().min(0).nullable(),
})
export type PartOrigin = z.infer<typeof originSchema>

export class PartFile {
  readonly #path: string
  readonly #file: FileHandle
  #hash: Hash
  #bytes = 0
  #origin: PartOrigin | null

  private constructor(path: string, file: FileHandle, origin: PartOrigin | null) {
    this.#path = path
    this.#file = file
    this.#hash = createHash('sha256')
    this.#origin = origin
  }

  /** Opens the part of `target` to go on with it, when it is of this address; else begins anew. */
  static async open(target: string, url: string, signal: AbortSignal): Promise<PartFile> {
    const path = `${target}.part`
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(path, 'a+', 0o600)
    const origin = await readOrigin(`${path}.json`)
    const part = new PartFile(path, file, origin)
    if (origin?.url === url && origin.validator !== null) await part.#readAgain(signal)
    else await part.restart()
    return part
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What the bytes here are a part of; null: nothing here yet. */
  get origin(): PartOrigin | null {
    return this.#origin
  }

  async begin(origin: PartOrigin): Promise<void> {
    this.#origin = origin
    await writeFile(`${this.#path}.json`, JSON.stringify(origin), { mode: 0o600 })
  }

  /** Throws a Fault at once when the first bytes are no GGUF's: a login page is not downloaded to its end. */
  async append(bytes: Buffer): Promise<void> {
    if (this.#bytes === 0 && !bytes.subarray(0, 4).equals(GGUF_MAGIC.subarray(0, bytes.length)))
      throw new Fault('model_file_not_gguf', 'what the server sends is not a GGUF model file')
    await this.#file.appendFile(bytes)
    this.#hash.update(bytes)
    this.#bytes += bytes.length
  }

  async restart(): Promise<void> {
    await this.#file.truncate(0)
    this.#hash = createHash('sha256')
    this.#bytes = 0
    this.#origin = null
  }

  get sha256(): string {
    return this.#hash.copy().digest('hex')
  }

  /** On the disk for good, then under its real name: `target` is never half a file. */
  async moveTo(target: string): Promise<void> {
    await this.#file.sync()
    await this.#file.close()
    await rename(this.#path, target)
    await rm(`${this.#path}.json`, { force: true })
  }

  /** Leaves the part for the next time. */
  close(): Promise<void> {
    return this.#file.close()
  }

  async remove(): Promise<void> {
    await this.#file.close()
    await rm(this.#path, { force: true })
    await rm(`${this.#path}.json`, { force: true })
  }

  async #readAgain(signal: AbortSignal): Promise<void> {
    const file = createReadStream(this.#path, { highWaterMark: 1024 * 1024, signal })
    for await (const bytes of file as AsyncIterable<Buffer>) {
      this.#hash.update(bytes)
      this.#bytes += bytes.length
    }
  }
}

async function readOrigin(path: string): Promise<PartOrigin | null> {
  try {
    return originSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    // Missing or damaged: the part cannot be trusted and is begun anew.
    return null
  }
}
