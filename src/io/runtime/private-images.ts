/**
 * Which images came with a tenant's password for their registry: another tenant's lease has them only after its own
 * credentials, or none, have given it the same. Known by the engine's image id, so that no other name leads around it;
 * while a pull is under way also by name. Kept in a file, since the images outlive the agent.
 */
import { open, readFile, rename } from 'node:fs/promises'
import type Docker from 'dockerode'
import { z } from 'zod'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { ask } from './engine-socket.ts'
import { bareId, imageId } from './images.ts'

/** So many are kept unseen; beyond that those go whose images the engine has no more. */
const MAX_UNSEEN = 1000
/** Each costs a look at each start; an engine ends a pull that nobody waits for long before so many more broke off. */
export const MAX_BROKEN_OFF = 32

const fileSchema = z.strictObject({
  v: z.literal(1),
  ids: z.array(z.string()),
  /** Names whose pull has not ended well, or not yet. */
  pulling: z.array(z.string()),
})

export class PrivateImages {
  readonly #docker: Docker
  readonly #path: string
  readonly #ids: Set<string>
  /** Name → how many pull it with credentials just now. */
  readonly #pulling = new Map<string, number>()
  /** Names whose pull was given up, oldest first: the engine may finish it all the same. */
  readonly #brokenOff: Set<string>
  #written: Promise<unknown> = Promise.resolve()

  private constructor(docker: Docker, path: string, file: z.infer<typeof fileSchema>) {
    this.#docker = docker
    this.#path = path
    this.#ids = new Set(file.ids)
    this.#brokenOff = new Set(file.pulling)
  }

  /**
   * Throws Fault `private_images_unreadable` where the file is damaged: without it nobody could say whose images lie
   * here.
   */
  static async open(docker: Docker, path: string): Promise<PrivateImages> {
    return new PrivateImages(docker, path, await readIt(path))
  }

  /** Does a pull with credentials. On disk before it begins, so that no crash leaves an image that everybody may run. */
  async *during<T>(image: string, pull: AsyncIterable<T>): AsyncGenerator<T, void, void> {
    this.#pulling.set(image, (this.#pulling.get(image) ?? 0) + 1)
    await this.#write()
    let over = false
    try {
      yield* pull
      over = true
    } catch (thrown) {
      over = thrown instanceof Fault && thrown.code === 'image_unavailable'
      throw thrown
    } finally {
      await this.#ended(image, over)
    }
  }

  async has(id: string): Promise<boolean> {
    for (const name of [...this.#pulling.keys(), ...this.#brokenOff]) await this.#learn(name)
    return this.#ids.has(id)
  }

  async #ended(name: string, over: boolean): Promise<void> {
    const left = (this.#pulling.get(name) ?? 1) - 1
    if (left > 0) this.#pulling.set(name, left)
    else this.#pulling.delete(name)
    this.#brokenOff.add(name)
    await this.#learn(name)
    if (over) this.#brokenOff.delete(name)
    const [oldest] = this.#brokenOff
    if (oldest !== undefined && this.#brokenOff.size > MAX_BROKEN_OFF) {
      await this.#learn(oldest)
      this.#brokenOff.delete(oldest)
    }
    if (this.#ids.size > MAX_UNSEEN) await this.#dropGone()
    await this.#write()
  }

  async #learn(name: string): Promise<void> {
    const id = await imageId(this.#docker, name)
    if (id !== null) this.#ids.add(id)
  }

  async #dropGone(): Promise<void> {
    const there = await ask('list images', this.#docker.listImages({ all: true }))
    const ids = new Set(there.map(({ Id }) => bareId(Id)))
    for (const id of this.#ids) if (!ids.has(id)) this.#ids.delete(id)
  }

  /** Durable when it resolves; one after the other. */
  #write(): Promise<void> {
    const written = this.#written.then(() => this.#writeNow())
    this.#written = written.catch(() => {})
    return written
  }

  async #writeNow(): Promise<void> {
    const ids = [...this.#ids]
    const pulling = [...new Set([...this.#pulling.keys(), ...this.#brokenOff])]
    const text = JSON.stringify({ v: 1, ids, pulling })
    const file = await open(`${this.#path}.new`, 'w', 0o600)
    try {
      await file.writeFile(`${text}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(`${this.#path}.new`, this.#path)
  }
}

async function readIt(path: string): Promise<z.infer<typeof fileSchema>> {
  try {
    return fileSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { v: 1, ids: [], pulling: [] }
    throw new Fault(
      'private_images_unreadable',
      `${path} does not say which images are private: ${reasonOf(error)}. Remove the images that leases pulled ` +
        `(docker image prune --all), then this file.`,
      { cause: error },
    )
  }
}
