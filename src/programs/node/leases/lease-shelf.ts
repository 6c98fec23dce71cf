/**
 * The leases of this node on its disk, so that a restarted agent knows what runs: one file each, readable by its owner
 * only. Secrets stay sealed in it. A file is whole or not there.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { reasonOf } from '../../../core/base/refusal.ts'
import { groupSchema } from '../../../core/protocol/group.ts'
import { manifestSchema } from '../../../core/protocol/manifest.ts'
import { sealedSecretsSchema } from '../../../core/protocol/secrets.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

const recordSchema = z.strictObject({
  v: z.literal(1),
  gateway: z.string(),
  lease: z.string(),
  epoch: z.int().min(1),
  group: groupSchema,
  manifest: manifestSchema,
  secrets: sealedSecretsSchema.nullable().default(null),
  /** By the terms that this node signed; null: of an agent that did not write it down. */
  owner: z.strictObject({ tenant: z.string(), deployment: z.string() }).nullable().default(null),
  /** CDI names by unit of the group. */
  gpus: z.array(z.strictObject({ unit: z.int(), cdi: z.array(z.string()) })),
  /** Null: it runs. Else only its volumes are kept. */
  kept: z
    .strictObject({
      untilMs: z.int(),
      /** The node ended it by itself: others may have had the lease since. */
      stale: z.boolean(),
    })
    .nullable(),
})
export type LeaseRecord = z.infer<typeof recordSchema>

export class LeaseShelf {
  readonly #folder: string
  readonly #logger: Logger

  constructor(folder: string, logger: Logger) {
    this.#folder = folder
    this.#logger = logger
  }

  /** What an earlier run left. A file that cannot be read is put aside, so that its lease ends and not the node. */
  async readAll(): Promise<LeaseRecord[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const records: LeaseRecord[] = []
    for (const name of await readdir(this.#folder)) {
      if (!name.endsWith('.json')) continue
      const path = join(this.#folder, name)
      try {
        records.push(recordSchema.parse(JSON.parse(await readFile(path, 'utf8'))))
      } catch (error) {
        await rename(path, `${path}.damaged`)
        this.#logger.error('lease file put aside', { path, error: reasonOf(error) })
      }
    }
    return records
  }

  /** Durable when it resolves. */
  async write(record: LeaseRecord): Promise<void> {
    const path = this.#pathOf(record.lease)
    const file = await open(`${path}.new`, 'w', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(record)}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
    await this.#syncFolder()
  }

  async remove(lease: string): Promise<void> {
    await rm(this.#pathOf(lease), { force: true })
  }

  #pathOf(lease: string): string {
    return join(this.#folder, `${lease}.json`)
  }

  /** A renamed file is only there after a power cut when its folder was synced. */
  async #syncFolder(): Promise<void> {
    const folder = await open(this.#folder, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }
}
