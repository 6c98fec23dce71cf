/**
 * Snapshots that come before their lease starts: kept on disk until its volumes are made, so that no process ever sees
 * a volume half filled. What is there after a crash belongs to nobody, and goes.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault } from '../../../core/base/refusal.ts'
import type { Unit } from '../../../core/protocol/group.ts'
import type { VolumeTarget } from '../../../io/runtime/runtime.ts'

/** A tar stream has a header of 512 bytes a file, and rounds each up to 512. */
const TAR_OVERHEAD = 2

export class RestoreSpool {
  readonly #folder: string
  /** Snapshots on their way in, by lease. */
  readonly #filling = new Map<string, number>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Before anything else. */
  async open(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
  }

  /** An acceptance waits for as long as its volumes are on their way. */
  isFilling(lease: string): boolean {
    return this.#filling.has(lease)
  }

  /** Resolves when all of it is on disk. Throws Fault `volume_unknown`, or `volume_too_large`. */
  async fill(target: VolumeTarget, units: readonly Unit[], tar: Readable): Promise<void> {
    const { lease, volume } = target
    const volumes = units.flatMap(({ resources }) => resources.volumes)
    const sizes = volumes.filter(({ name }) => name === volume).map(({ bytes }) => bytes)
    if (sizes.length === 0) throw new Fault('volume_unknown', `the lease has no volume ${volume}`)
    const path = this.#pathOf(target)
    this.#filling.set(lease, (this.#filling.get(lease) ?? 0) + 1)
    try {
      await mkdir(join(this.#folder, lease), { recursive: true, mode: 0o700 })
      const file = createWriteStream(`${path}.part`, { mode: 0o600 })
      await pipeline(tar, atMost(TAR_OVERHEAD * Math.max(...sizes), volume), file)
      await rename(`${path}.part`, path)
    } finally {
      const left = (this.#filling.get(lease) ?? 1) - 1
      if (left === 0) this.#filling.delete(lease)
      else this.#filling.set(lease, left)
    }
  }

  /** What fills this volume; null: nothing came for it. */
  async take(target: VolumeTarget): Promise<Readable | null> {
    const path = this.#pathOf(target)
    try {
      await stat(path)
    } catch {
      return null
    }
    return createReadStream(path)
  }

  /** The lease has started, or will not. */
  async clear(lease: string): Promise<void> {
    await rm(join(this.#folder, lease), { recursive: true, force: true })
  }

  /** Names of services and volumes are the tenant's: they become no path. */
  #pathOf({ lease, service, replica, volume }: VolumeTarget): string {
    const name = createHash('sha256').update(JSON.stringify([service, replica, volume]))
    return join(this.#folder, lease, `${name.digest('hex')}.tar`)
  }
}

function atMost(limit: number, volume: string): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes <= limit) done(null, chunk)
      else
        done(new Fault('volume_too_large', `the snapshot does not fit volume ${volume}: ${bytes}`))
    },
  })
}
