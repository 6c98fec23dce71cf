/**
 * Snapshots of leases' persistent volumes: taken every few minutes and when a tenant asks, kept in an object store, given
 * to the next node when the lease moves, before its containers start, and removed when their time is over.
 */
import type { Readable } from 'node:stream'
import { idFrom } from '../../../core/base/id.ts'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import { DATA_KEPT_MS } from '../../../core/market/deployment-life.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { ObjectStore } from '../../../io/objects/object-store.ts'
import type { LeaseRecord } from '../../../io/store/deployment-records.ts'
import type {
  NewSnapshot,
  SnapshotRecord,
  SnapshotStore,
} from '../../../io/store/snapshot-records.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { tallied, verified } from './snapshot-digest.ts'
import { isOf, placesOf, placeText, type VolumePlace } from './volume-places.ts'

/** A tar stream has a header of 512 bytes a file, and rounds each up to 512. */
const TAR_OVERHEAD = 2
/** The end of an archive, and its folders. */
const LEAST_TAR_BYTES = 64 * 1024
const SNAPSHOT_EVERY_MS = 10 * MINUTE
/** A node that cannot hand out or take its volumes in this time has a problem that is not ours. */
export const TRANSFER_MS = 10 * MINUTE
/** A volume's newest snapshots: when one cannot be read the one before it is there. */
export const KEPT = 3
/** What was not finished after so long belongs to a gateway that died. */
const UNFINISHED_MS = 60 * MINUTE

export type VolumeParts = {
  readonly objects: ObjectStore
  readonly store: SnapshotStore
  readonly logger: Logger
  readonly now: () => Millis
  readonly random: (bytes: number) => Uint8Array
  /** Of all snapshots of one account. */
  readonly limitBytes: number
}

/** One that is being taken. */
export type Taking = {
  readonly row: NewSnapshot
  /** So far. */
  bytes: number
  /** Resolves with null when it is ready, or with why it is not. */
  readonly done: Promise<string | null>
}

export class LeaseVolumes {
  readonly parts: VolumeParts
  readonly #takenAt = new Map<string, Millis>()
  readonly #taking = new Map<string, Taking>()

  constructor(parts: VolumeParts) {
    this.parts = parts
  }

  /** Whether it is time for another. The first is due a while after the lease has begun to run. */
  isDue({ id, doc }: LeaseRecord, now: Millis): boolean {
    if (doc.startedAt === null || placesOf(doc).length === 0) return false
    return now - (this.#takenAt.get(id) ?? doc.startedAt) >= SNAPSHOT_EVERY_MS
  }

  /** Takes one of each volume, one after the other; resolves with what did not work. That leaves the last one as it is. */
  async take(link: NodeLink, record: LeaseRecord): Promise<string[]> {
    const { now, logger } = this.parts
    this.#takenAt.set(record.id, now())
    const problems: string[] = []
    for (const place of placesOf(record.doc)) {
      const why = await this.begin(link, record, place).then(({ done }) => done, reasonOf)
      if (why === null) continue
      problems.push(`${placeText(place)}: ${why}`)
      logger.warn('no snapshot', { lease: record.id, ...place, error: why })
    }
    return problems
  }

  /** Begins one of this volume, or gives the one that is under way. Throws Fault `store_unavailable`. */
  async begin(link: NodeLink, record: LeaseRecord, place: VolumePlace): Promise<Taking> {
    const key = JSON.stringify([record.id, place.service, place.replica, place.volume])
    const running = this.#taking.get(key)
    if (running) return running
    const { store, objects, now, random } = this.parts
    const id = idFrom('snap', random(15))
    const { id: lease, account, deployment } = record
    const { service, replica, volume } = place
    const of = { id, account, deployment, lease, service, replica, volume }
    const object = `${account}/${id}.tar`
    const row = { ...of, place: objects.place, object, begunAt: now() }
    // It counts from here on: who asks while the row is written gets the same one.
    const begun = store.beginSnapshot(row)
    const taking: Taking = {
      row,
      bytes: 0,
      done: begun
        .then(() => this.#carry(link, record, place, taking))
        .catch(reasonOf)
        .finally(() => this.#taking.delete(key)),
    }
    this.#taking.set(key, taking)
    await begun
    return taking
  }

  /** What is being taken now, of anybody. */
  get taking(): readonly Taking[] {
    return [...this.#taking.values()]
  }

  /**
   * The bytes of a snapshot, or null where they are gone. The stream breaks with Fault `snapshot_corrupt` instead of
   * ending where they are not what was written; then the snapshot is none any more.
   */
  async open(row: SnapshotRecord): Promise<Readable | null> {
    const { objects } = this.parts
    const source = await objects.get(row.object)
    if (source === null) {
      await this.giveUp(row, 'its object is gone')
      return null
    }
    const body = verified(source, { bytes: row.bytes, sha256: row.sha256 ?? '' })
    body.once('error', (error) => {
      if (isCorrupt(error)) void this.giveUp(row, reasonOf(error))
    })
    return body
  }

  /** The lease is over: its snapshots stay for a day, which the store knows. */
  forget(lease: string): void {
    this.#takenAt.delete(lease)
  }

  /** Removes what nobody can ask for any more. */
  async sweep(): Promise<void> {
    const { store, objects, now, logger } = this.parts
    const at = now()
    const times = { now: at, unfinishedBefore: at - UNFINISHED_MS, closedUntil: at + DATA_KEPT_MS }
    const due = await store.dueSnapshots(objects.place, times)
    for (const { id, object } of due) {
      await objects.remove(object)
      await store.dropSnapshot(id)
      logger.info('snapshot removed', { snapshot: id })
    }
  }

  /** It is never used again; a database that is away does not make it better. */
  async giveUp({ id, lease }: SnapshotRecord, why: string): Promise<void> {
    const { store, logger } = this.parts
    logger.error('snapshot unusable', { snapshot: id, lease, error: why })
    await store.failSnapshot(id, why).catch(() => {})
  }

  /** Null when it is ready, or why it is not. */
  async #carry(
    link: NodeLink,
    record: LeaseRecord,
    place: VolumePlace,
    taking: Taking,
  ): Promise<string | null> {
    const { store, objects, now } = this.parts
    const { id, object } = taking.row
    let why: string
    try {
      const { bytes, sha256 } = await this.#transfer(link, record, place, taking)
      const made = { bytes, sha256, at: now(), keep: KEPT, limitBytes: this.parts.limitBytes }
      if (await store.finishSnapshot(id, made)) return null
      why = this.#overLimit()
    } catch (error) {
      why =
        error instanceof Fault && error.code === 'object_too_large'
          ? this.#overLimit()
          : reasonOf(error)
    }
    await store.failSnapshot(id, why).catch(() => {})
    // What stays is found by the sweep.
    await objects.remove(object).catch(() => {})
    return why
  }

  async #transfer(
    link: NodeLink,
    { id: lease, doc }: LeaseRecord,
    { service, replica, volume, bytes }: VolumePlace,
    taking: Taking,
  ) {
    const { ownerEpoch: epoch } = doc
    if (epoch === null) throw new Error('no node has the lease')
    const limit = Math.min(await this.#roomFor(taking.row), TAR_OVERHEAD * bytes + LEAST_TAR_BYTES)
    const purpose = { kind: 'snapshot' as const, lease, epoch, service, replica, volume }
    const signal = AbortSignal.timeout(TRANSFER_MS)
    const tunnel = await link.openTunnel(purpose, { signal })
    const late = (): void => void tunnel.destroy(new Error('it took more than 10 minutes'))
    signal.addEventListener('abort', late)
    tunnel.end()
    const { body, tally } = tallied(tunnel, (sofar) => (taking.bytes = sofar))
    try {
      await this.parts.objects.put(taking.row.object, body, limit)
      return tally()
    } finally {
      signal.removeEventListener('abort', late)
    }
  }

  /** What the account may still have, with what goes when this one is there. */
  async #roomFor(row: NewSnapshot): Promise<number> {
    const { store, now, limitBytes } = this.parts
    const at = now()
    const used = await store.snapshotBytes(row.account, at)
    const same = (await store.snapshotsOf({ lease: row.lease }, at)).filter(
      (one) => one.state === 'ready' && one.place === row.place && isOf(one, row),
    )
    const going = same.slice(KEPT - 1).reduce((sum, { bytes }) => sum + bytes, 0)
    return Math.max(0, limitBytes - used + going)
  }

  #overLimit(): string {
    const gib = Math.round((this.parts.limitBytes / 2 ** 30) * 100) / 100
    return `it is larger than its volume may be, or with it your snapshots would take more than ${gib} GiB`
  }
}

export const isCorrupt = (error: unknown): boolean =>
  error instanceof Fault && error.code === 'snapshot_corrupt'
