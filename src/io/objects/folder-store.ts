/** Objects as files under one folder, which only this machine's user may read. */
import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { partsOf, tooLarge, type ObjectStore, type StoredObject } from './object-store.ts'

export class FolderStore implements ObjectStore {
  readonly place: string
  readonly #folder: string

  /** `place`: what the folder is called where another machine may have one of the same path. */
  constructor(folder: string, place = `folder ${folder}`) {
    this.#folder = folder
    this.place = place
  }

  async check(): Promise<void> {
    const probe = `probe-${randomBytes(6).toString('hex')}`
    try {
      await this.put(probe, Readable.from([Buffer.from(probe)]), probe.length)
      const back = await this.get(probe)
      await this.remove(probe)
      if (back === null || String(await buffer(back)) !== probe)
        throw new Error('it reads otherwise')
    } catch (error) {
      throw new Fault(
        'objects_refused',
        `Snapshots cannot be kept in ${this.#folder}: ${reasonOf(error)}. Mend the folder, or name another with --snapshots.`,
        { cause: error },
      )
    }
  }

  async put(name: string, body: Readable, limitBytes: number): Promise<number> {
    const path = this.#pathOf(name)
    const part = `${path}.${randomBytes(6).toString('hex')}.part`
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    let bytes = 0
    const count = new Transform({
      transform(piece: Buffer, _encoding, done) {
        bytes += piece.length
        if (bytes <= limitBytes) done(null, piece)
        else done(tooLarge(name, limitBytes))
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

  async get(name: string): Promise<Readable | null> {
    const file = await orNull(open(this.#pathOf(name), 'r'))
    if (file === null) return null
    if ((await file.stat()).isFile()) return createReadStream('', { fd: file })
    await file.close()
    return null
  }

  async list(name: string): Promise<StoredObject[]> {
    const found = await this.#listAt(name)
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  async remove(name: string): Promise<void> {
    const path = this.#pathOf(name)
    const begun = new RegExp(`^${basename(path).replaceAll('.', '\\.')}\\.[0-9a-f]{12}\\.part$`)
    for (const file of (await orNull(readdir(dirname(path)))) ?? [])
      if (begun.test(file)) await rm(join(dirname(path), file), { force: true })
    await rm(path, { force: true })
  }

  async #listAt(name: string): Promise<StoredObject[]> {
    const about = await orNull(stat(this.#pathOf(name)))
    if (about === null || /\.[0-9a-f]{12}\.part$/.test(name)) return []
    if (!about.isDirectory()) return [{ name, bytes: about.size }]
    const files = (await orNull(readdir(this.#pathOf(name)))) ?? []
    return (await Promise.all(files.map((file) => this.#listAt(`${name}/${file}`)))).flat()
  }

  #pathOf(name: string): string {
    return join(this.#folder, ...partsOf(name))
  }
}

/** Null where there is no such file. */
async function orNull<T>(looking: Promise<T>): Promise<T | null> {
  try {
    return await looking
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}
