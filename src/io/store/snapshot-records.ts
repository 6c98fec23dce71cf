/** Snapshots of volumes as the store keeps them; their bytes are in an object store. */
import type { Millis } from '../../core/base/time.ts'

export type SnapshotRecord = {
  readonly id: string
  readonly account: string
  readonly deployment: string
  readonly lease: string
  readonly service: string
  readonly replica: number
  readonly volume: string
  /** `ObjectStore.place`, and the name there. */
  readonly place: string
  readonly object: string
  readonly state: 'taking' | 'ready' | 'failed'
  readonly begunAt: Millis
  /** Of the object, when it is ready. */
  readonly bytes: number
  readonly sha256: string | null
  /** Why it failed. */
  readonly problem: string | null
  /** Null: while its lease is open and no newer ones take its place. */
  readonly expiresAt: Millis | null
}
export type NewSnapshot = Omit<
  SnapshotRecord,
  'state' | 'bytes' | 'sha256' | 'problem' | 'expiresAt'
>

export type SnapshotStore = {
  /** Before the first byte of its object. */
  beginSnapshot(snapshot: NewSnapshot): Promise<void>
  /**
   * Its object is whole. Of the same volume at the same place the `keep` newest ready ones stay, it among them; older ones
   * expire at `at`. False, and nothing changed: the account would have more than `limitBytes`, or it is no longer wanted.
   */
  finishSnapshot(
    id: string,
    made: {
      readonly bytes: number
      readonly sha256: string
      readonly at: Millis
      readonly keep: number
      readonly limitBytes: number
    },
  ): Promise<boolean>
  /** It is not to be used, whatever it was. */
  failSnapshot(id: string, problem: string): Promise<void>
  /** It is over at that time. Null: the account has no such snapshot. */
  expireSnapshot(account: string, id: string, at: Millis): Promise<SnapshotRecord | null>
  /** Its object is gone. */
  dropSnapshot(id: string): Promise<void>
  /** Newest first, at most 1000, without what is over at `now`. */
  snapshotsOf(
    of: { deployment: string } | { lease: string },
    now: Millis,
  ): Promise<SnapshotRecord[]>
  /** What an account's ready snapshots take, in bytes. */
  snapshotBytes(account: string, now: Millis): Promise<number>
  /**
   * Those at this place whose objects are to be removed: over, or failed or never finished since `unfinishedBefore`. What
   * belongs to leases that are closed gets its end, `closedUntil`, first. At most 100.
   */
  dueSnapshots(
    place: string,
    times: {
      readonly now: Millis
      readonly unfinishedBefore: Millis
      readonly closedUntil: Millis
    },
  ): Promise<SnapshotRecord[]>
}
