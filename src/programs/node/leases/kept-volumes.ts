/** What is left of a lease that ended here: its volumes, for as long as its tenant may still want them. */
import { reasonOf } from '../../../core/base/refusal.ts'
import { DAY } from '../../../core/base/time.ts'
import type { LeaseEntry } from './lease-entry.ts'
import type { HostParts } from './lease-host.ts'
import type { LeaseRecord } from './lease-shelf.ts'
import { hasPersistent, keptNeedOf, type RoomBook } from './room.ts'
import type { Ending } from './tenancy.ts'

export const KEEP_VOLUMES_MS = DAY

/** Frees its room but for the volumes that are kept. Never rejects: what the disk does not take is only known until the next start, which then looks again. */
export async function putAway(
  entry: LeaseEntry,
  { record, ending, book }: { record: LeaseRecord; ending: Ending; book: RoomBook },
  { shelf, room, now, logger }: Pick<HostParts, 'shelf' | 'room' | 'now' | 'logger'>,
): Promise<void> {
  const { lease, group } = record
  const need = keptNeedOf(group, room)
  const keeps = ending.keepVolumes && hasPersistent(group)
  const mark = { untilMs: now() + KEEP_VOLUMES_MS, stale: ending.stale }
  const kept = keeps ? { ...record, kept: mark } : null
  try {
    await (kept === null ? shelf.remove(lease) : shelf.write(kept))
  } catch (error) {
    logger.error('lease file not changed', { lease, error: reasonOf(error) })
  }
  entry.release()
  if (kept !== null && !('short' in need)) entry.occupy(book.takeAgain(lease, need, new Map()))
  entry.tenancy = null
  entry.kept = kept
}

/** Never rejects: what does not work now is logged, and its room stays taken. */
export async function removeKept(
  entry: LeaseEntry,
  { runtime, shelf, logger }: Pick<HostParts, 'runtime' | 'shelf' | 'logger'>,
): Promise<void> {
  const { lease } = entry
  try {
    await runtime.removeVolumes(lease)
    await shelf.remove(lease)
    entry.release()
    entry.kept = null
  } catch (error) {
    logger.error('volumes not removed', { lease, error: reasonOf(error) })
  }
}
