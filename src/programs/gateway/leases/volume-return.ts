/** What a lease's volumes held comes to its next node: the newest snapshot that is whole, before anything runs there. */
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { SECOND } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { LeaseRecord } from '../../../io/store/deployment-records.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'
import { isCorrupt, TRANSFER_MS, type LeaseVolumes } from './lease-volumes.ts'
import { isOf, placesOf, placeText, type VolumePlace } from './volume-places.ts'

/** A node keeps an accepted lease for a minute: what does not answer by then is gone. */
const TRIES = 8
const PAUSE_MS = 3 * SECOND

/** What the tenant should read. */
export type VolumeNews = { readonly type: string; readonly message: string }

/** Null, or why the newest snapshots cannot be read just now: then a lease had better wait than start empty. */
export async function whyNotReadable(
  volumes: LeaseVolumes,
  { id, doc }: LeaseRecord,
): Promise<string | null> {
  const { objects, store, now } = volumes.parts
  const places = placesOf(doc)
  if (places.length === 0) return null
  const rows = await store.snapshotsOf({ lease: id }, now())
  for (const place of places) {
    const [newest] = rowsFor(place, rows, objects.place)
    if (!newest) continue
    try {
      await objects.list(newest.object)
    } catch (error) {
      if (error instanceof Fault && !error.retryable) continue
      return reasonOf(error)
    }
  }
  return null
}

/** Gives the node what there is. Never rejects: what did not come back is told. */
export async function giveVolumes(
  volumes: LeaseVolumes,
  link: NodeLink,
  record: LeaseRecord,
): Promise<VolumeNews[]> {
  const news: VolumeNews[] = []
  let given = 0
  for (const place of placesOf(record.doc)) {
    try {
      const told = await giveVolume({ volumes, link, record, place })
      if (told.given) given += 1
      news.push(...told.news)
    } catch (error) {
      news.push(notRestored(place, reasonOf(error)))
    }
  }
  for (const { type, message } of news)
    volumes.parts.logger.warn(type, { lease: record.id, error: message })
  if (given > 0)
    news.push({ type: 'volumes.restored', message: `${given} volumes from their last snapshot` })
  return news
}

type Return = {
  readonly volumes: LeaseVolumes
  readonly link: NodeLink
  readonly record: LeaseRecord
  readonly place: VolumePlace
}

async function giveVolume(to: Return): Promise<{ given: boolean; news: VolumeNews[] }> {
  const { volumes, record, place } = to
  const { objects, store, now } = volumes.parts
  const rows = await patiently(() => store.snapshotsOf({ lease: record.id }, now()))
  const here = rowsFor(place, rows, objects.place)
  const [elsewhere] = rows.filter((row) => row.state === 'ready' && isOf(row, place))
  if (here.length === 0 && elsewhere) {
    const why = `its snapshots are kept by ${elsewhere.place}, out of reach of this gateway`
    return { given: false, news: [notRestored(place, why)] }
  }
  const news: VolumeNews[] = []
  for (const row of here) {
    const why = await patiently(() => giveSnapshot(to, row))
    if (why === null) return { given: true, news }
    const when = new Date(row.begunAt).toISOString()
    const message = `the snapshot of ${placeText(place)} from ${when} was refused: ${why}`
    news.push({ type: 'snapshot.corrupt', message })
  }
  if (here.length > 0) news.push(notRestored(place, 'no snapshot of it is whole'))
  return { given: false, news }
}

/** Null when the node has it, or why the snapshot is none. Throws what is not the snapshot's fault. */
async function giveSnapshot(
  { volumes, link, record, place }: Return,
  row: SnapshotRecord,
): Promise<string | null> {
  const { id: lease } = record
  const { ownerEpoch: epoch } = record.doc
  if (epoch === null) throw new Error('no node has the lease')
  const body = await volumes.open(row)
  if (body === null) return 'its object is gone'
  const { service, replica, volume } = place
  const purpose = { kind: 'restore' as const, lease, epoch, service, replica, volume }
  const signal = AbortSignal.timeout(TRANSFER_MS)
  try {
    const tunnel = await link.openTunnel(purpose, { signal })
    // The node ends its direction when all is written.
    const written = text(tunnel)
    written.catch(() => {})
    await pipeline(body, tunnel, { end: true, signal })
    await written
    return null
  } catch (error) {
    if (isCorrupt(error)) return reasonOf(error)
    throw error
  } finally {
    body.destroy()
  }
}

/** Those that can be given, newest first. */
const rowsFor = (place: VolumePlace, rows: readonly SnapshotRecord[], at: string) =>
  rows.filter((row) => row.state === 'ready' && row.place === at && isOf(row, place))

const notRestored = (place: VolumePlace, why: string): VolumeNews => ({
  type: 'volumes.not_restored',
  message: `${placeText(place)} starts empty: ${why}. 'baseload snapshot <deployment> --list' names what is left`,
})

/** What may pass is tried again: a lease that starts without its data is worse than one that starts late. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      const passes =
        error instanceof Fault &&
        (error.code === 'objects_unavailable' || error.code === 'store_unavailable')
      if (!passes || tries === TRIES) throw error
      await sleep(PAUSE_MS, undefined, { ref: false })
    }
  }
}
