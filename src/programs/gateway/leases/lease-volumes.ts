/**
 * Snapshots of leases' persistent volumes: taken every few minutes, kept at the gateway, and given to the next node when
 * the lease moves, before its containers start.
 */
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { FolderStore } from '../../../io/objects/folder-store.ts'
import type { LeaseDoc, LeaseRecord } from '../../../io/store/deployment-records.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

/** A tar stream has a header of 512 bytes a file, and rounds each up to 512. */
const TAR_OVERHEAD = 2
/** The end of an archive, and its folders. */
const LEAST_TAR_BYTES = 64 * 1024
const SNAPSHOT_EVERY_MS = 10 * MINUTE
/** A node that cannot hand out or take its volumes in this time has a problem that is not ours. */
const TRANSFER_MS = 10 * MINUTE

type VolumePlace = {
  readonly service: string
  readonly replica: number
  readonly volume: string
  readonly bytes: number
}

export class LeaseVolumes {
  readonly #objects: FolderStore
  readonly #logger: Logger
  readonly #takenAt = new Map<string, Millis>()

  constructor(parts: { objects: FolderStore; logger: Logger }) {
    this.#objects = parts.objects
    this.#logger = parts.logger
  }

  /** Whether it is time for another. The first is due a while after the lease has begun to run. */
  isDue({ id, doc }: LeaseRecord, now: Millis): boolean {
    if (doc.startedAt === null || placesOf(doc).length === 0) return false
    return now - (this.#takenAt.get(id) ?? doc.startedAt) >= SNAPSHOT_EVERY_MS
  }

  /** Takes one of each volume. What does not work leaves the last one as it is, and is tried again at its time. */
  async take(link: NodeLink, { id, doc }: LeaseRecord, now: Millis): Promise<void> {
    this.#takenAt.set(id, now)
    const { ownerEpoch: epoch } = doc
    if (epoch === null) return
    for (const place of placesOf(doc)) {
      const { service, replica, volume, bytes } = place
      try {
        const purpose = { kind: 'snapshot' as const, lease: id, epoch, service, replica, volume }
        const signal = AbortSignal.timeout(TRANSFER_MS)
        const tunnel = await link.openTunnel(purpose, { signal })
        tunnel.end()
        await this.#objects.put(nameOf(id, place), tunnel, TAR_OVERHEAD * bytes + LEAST_TAR_BYTES)
      } catch (error) {
        this.#logger.warn('no snapshot', { lease: id, service, volume, error: reasonOf(error) })
      }
    }
  }

  /** Gives the node what there is. Returns how many volumes came back. */
  async give(link: NodeLink, { id, doc }: LeaseRecord): Promise<number> {
    const { ownerEpoch: epoch } = doc
    if (epoch === null) return 0
    let given = 0
    for (const place of placesOf(doc)) {
      const { service, replica, volume } = place
      const snapshot = await this.#objects.get(nameOf(id, place))
      if (!snapshot) continue
      try {
        const purpose = { kind: 'restore' as const, lease: id, epoch, service, replica, volume }
        const signal = AbortSignal.timeout(TRANSFER_MS)
        const tunnel = await link.openTunnel(purpose, { signal })
        // The node ends its direction when all is written.
        await Promise.all([pipeline(snapshot, tunnel, { end: true }), text(tunnel)])
        given += 1
      } catch (error) {
        snapshot.destroy()
        this.#logger.warn('not restored', { lease: id, service, volume, error: reasonOf(error) })
      }
    }
    return given
  }

  async forget(lease: string): Promise<void> {
    this.#takenAt.delete(lease)
    await this.#objects.removeAll(lease)
  }
}

/** The persistent volumes of every copy of every service that mounts them. */
function placesOf({ group, manifest }: LeaseDoc): VolumePlace[] {
  return manifest.services.flatMap(({ name: service, count, unit, mounts }) => {
    const volumes = group.units.find(({ id }) => id === unit)?.resources.volumes ?? []
    const kept = volumes.filter(
      ({ name, persistent }) => persistent && mounts.some(({ volume }) => volume === name),
    )
    return Array.from({ length: count }, (_, replica) =>
      kept.map(({ name: volume, bytes }) => ({ service, replica, volume, bytes })),
    ).flat()
  })
}

const nameOf = (lease: string, { service, replica, volume }: VolumePlace): string =>
  `${lease}/${service}-${replica}/${volume}.tar`
