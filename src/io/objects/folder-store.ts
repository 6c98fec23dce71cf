/**
 * Large things that a gateway keeps for its tenants, as files under one folder: a name has parts divided by `/`, each of
 * letters, digits, `_`, `.` and `-`. What is written appears whole or not at all.
 */
import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault } from '../../core/base/refusal.ts'

const PART = /^[\w-][\w.-]{0,199}$/

export class FolderStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Resolves with its size when all of it is on disk. Fault `object_too_large` above the limit: then nothing changed. */
  async put(name: string, body: Readable, limitBytes: number): Promise<number> {
    const path = this.#pathOf(name)
    const part = `${path}.${randomBytes(6).toString('hex')}.part`
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    let bytes = 0
    const count = new Transform({
      transform(piece: Buffer, _encoding, done) {
        bytes += piece.length
        if (bytes <= limitBytes) done(null, piece)
        else done(new Fault('object_too_large', `${name} is over its limit of ${limitBytes} bytes`))
      },
    })
    try {
      await pipeline(body, count, createWriteStream(part, { mode: 0o600, flush: true }))
      await rename(part, path)
    } catch (error) {
      await rm(part, { force: true })
      throw error
    }
    return bytes
  }

  /** Null: there is no such thing. */
  async get(name: string): Promise<Readable | null> {
    const file = await open(this.#pathOf(name), 'r').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw error
    })
    return file && createReadStream('', { fd: file })
  }

  /** Everything whose name begins with these parts. */
  async removeAll(name: string): Promise<void> {
    await rm(this.#pathOf(name), { recursive: true, force: true })
  }

  #pathOf(name: string): string {
    const parts = name.split('/')
    const wrong = parts.find((part) => !PART.test(part))
    if (wrong !== undefined) throw new RangeError(`'${wrong}' cannot be part of an object's name`)
    return join(this.#folder, ...parts)
  }
}
