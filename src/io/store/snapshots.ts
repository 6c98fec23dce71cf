/** Snapshots of volumes: what there is, how much of it, and what is to go. */
import { only } from './accounts.ts'
import type { Database } from './database.ts'
import type { SnapshotRecord, SnapshotStore } from './snapshot-records.ts'

export const snapshotsIn = (database: Database): SnapshotStore => ({
  async beginSnapshot(snapshot) {
    const { id, account, deployment, lease, service, replica, volume } = snapshot
    const { place, object, begunAt } = snapshot
    await database.run(
      (sql) => sql`
        insert into snapshots (id, account, deployment, lease, service, replica, volume, place, object, state, begun_at)
        values (${id}, ${account}, ${deployment}, ${lease}, ${service}, ${replica}, ${volume}, ${place}, ${object},
          'taking', ${begunAt})
        on conflict (id) do nothing`,
    )
  },

  finishSnapshot: (id, { bytes, sha256, at, keep, limitBytes }) =>
    database
      .transaction(async (sql) => {
        // The account's row is locked: of two that finish at once the second counts the first.
        await sql`
        select id from accounts where id = (select account from snapshots where id = ${id}) for update`
        const [row] = await sql<SnapshotRow[]>`
        update snapshots set state = 'ready', bytes = ${bytes}, sha256 = ${sha256}
        where id = ${id} and state = 'taking' and (expires_at is null or expires_at > ${at}) returning *`
        if (!row) return false
        const { account, lease, service, replica, volume, place } = row
        await sql`
        update snapshots set expires_at = ${at} where id in (
          select id from snapshots
          where lease = ${lease} and service = ${service} and replica = ${replica} and volume = ${volume}
            and place = ${place} and state = 'ready' and (expires_at is null or expires_at > ${at})
          order by begun_at desc, id offset ${keep})`
        const { sum } = only(
          await sql<{ sum: bigint }[]>`
          select coalesce(sum(bytes), 0)::bigint as sum from snapshots
          where account = ${account} and state = 'ready' and (expires_at is null or expires_at > ${at})`,
        )
        if (sum <= BigInt(limitBytes)) return true
        throw new OverLimit()
      })
      .catch((error: unknown) => {
        if (error instanceof OverLimit) return false
        throw error
      }),

  async failSnapshot(id, problem) {
    await database.run(
      (sql) => sql`
        update snapshots set state = 'failed', problem = ${problem.slice(0, MAX_PROBLEM)} where id = ${id}`,
    )
  },

  async expireSnapshot(account, id, at) {
    const [row] = await database.run(
      (sql) => sql<SnapshotRow[]>`
        update snapshots set expires_at = ${at}
        where account = ${account} and id = ${id} and (expires_at is null or expires_at > ${at}) returning *`,
    )
    return row ? recordOf(row) : null
  },

  async dropSnapshot(id) {
    await database.run((sql) => sql`delete from snapshots where id = ${id}`)
  },

  async snapshotsOf(of, now) {
    const [lease, deployment] = 'lease' in of ? [of.lease, null] : [null, of.deployment]
    const rows = await database.run(
      (sql) => sql<SnapshotRow[]>`
        select * from snapshots
        where (lease = ${lease} or deployment = ${deployment}) and (expires_at is null or expires_at > ${now})
        order by begun_at desc, id limit ${MAX_LISTED}`,
    )
    return rows.map(recordOf)
  },

  async snapshotBytes(account, now) {
    const rows = await database.run(
      (sql) => sql<{ sum: bigint }[]>`
        select coalesce(sum(bytes), 0)::bigint as sum from snapshots
        where account = ${account} and state = 'ready' and (expires_at is null or expires_at > ${now})`,
    )
    return Number(only(rows).sum)
  },

  dueSnapshots: (place, { now, unfinishedBefore, closedUntil }) =>
    database.transaction(async (sql) => {
      await sql`
        update snapshots set expires_at = ${closedUntil} from leases
        where snapshots.place = ${place} and expires_at is null
          and leases.id = snapshots.lease and leases.state = 'closed'`
      const rows = await sql<SnapshotRow[]>`
        select * from snapshots
        where place = ${place} and (expires_at <= ${now} or (state <> 'ready' and begun_at < ${unfinishedBefore}))
        order by begun_at, id limit ${MAX_DUE}`
      return rows.map(recordOf)
    }),
})

const MAX_LISTED = 1000
const MAX_DUE = 100
const MAX_PROBLEM = 1000

/** Takes a transaction back. */
class OverLimit extends Error {}

type SnapshotRow = {
  readonly id: string
  readonly account: string
  readonly deployment: string
  readonly lease: string
  readonly service: string
  readonly replica: number
  readonly volume: string
  readonly place: string
  readonly object: string
  readonly state: SnapshotRecord['state']
  readonly begun_at: bigint
  readonly bytes: bigint
  readonly sha256: string | null
  readonly problem: string | null
  readonly expires_at: bigint | null
}

const recordOf = ({ begun_at, expires_at, bytes, ...row }: SnapshotRow): SnapshotRecord => ({
  ...row,
  begunAt: Number(begun_at),
  bytes: Number(bytes),
  expiresAt: expires_at === null ? null : Number(expires_at),
})
