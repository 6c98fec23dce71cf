/** Deployments, leases and their events. A lease changes only with the revision that was read. */
import { Fault } from '../../core/base/refusal.ts'
import type { LeaseState } from '../../core/protocol/lease-control.ts'
import { only } from './accounts.ts'
import type { Database, Transaction } from './database.ts'
import {
  DEPLOYMENT_KEY_MS,
  leaseDocSchema,
  type DeploymentEventRecord,
  type DeploymentKey,
  type DeploymentRecord,
  type DeploymentStore,
  type LeaseRecord,
  type NewDeploymentEvent,
  type StoredDeployment,
} from './deployment-records.ts'
import { payLeases } from './lease-payments.ts'

export const deploymentsIn = (database: Database): DeploymentStore => ({
  createDeployment: ({ deployment, leases }, gateway, claimedUntil, events, once = null) =>
    database.transaction(async (sql) => {
      const { id, account, apiKey, name, rule, sdl, createdAt } = deployment
      const made = await sql`
        insert into deployments (id, account, api_key, name, rule, sdl, created_at, gateway, claimed_until)
        values (${id}, ${account}, ${apiKey}, ${name}, ${rule}, ${sdl}, ${createdAt}, ${gateway}, ${claimedUntil})
        on conflict (id) do nothing returning id`
      if (made.length === 0) {
        const again =
          await sql`select 1 from leases where id = ${leases[0]?.id ?? ''} and deployment = ${id}`
        return again.length > 0
      }
      if (once !== null && !(await insertKey(sql, deployment, once))) {
        await sql`delete from deployments where id = ${id}`
        return false
      }
      for (const lease of leases) await insertLease(sql, lease)
      await insertEvents(sql, id, events)
      return true
    }),

  async deploymentOfKey(account, key, now) {
    const [row] = await database.run(
      (sql) => sql<{ deployment: string; content_hash: string }[]>`
        select deployment, content_hash from deployment_keys
        where account = ${account} and key = ${key} and created_at > ${now - DEPLOYMENT_KEY_MS}`,
    )
    return row ? { deployment: row.deployment, contentHash: row.content_hash } : null
  },

  async claimDeployments(gateway, now, claimedUntil) {
    const rows = await database.run(
      (sql) => sql<DeploymentRow[]>`
        update deployments set gateway = ${gateway}, claimed_until = ${claimedUntil}
        where closed_at is null and (gateway = ${gateway} or claimed_until < ${now})
        returning *`,
    )
    return await withLeases(database, rows)
  },

  async deploymentsOf(account, { limit, closed }) {
    const rows = await database.run(
      (sql) => sql<DeploymentRow[]>`
        select * from deployments where account = ${account} and (${closed} or closed_at is null)
        order by created_at desc, id limit ${limit}`,
    )
    return await withLeases(database, rows)
  },

  async findDeployment(account, idOrName) {
    const rows = await database.run(
      (sql) => sql<DeploymentRow[]>`
        select * from deployments
        where account = ${account} and (id = ${idOrName} or (name = ${idOrName} and closed_at is null))
        order by (id = ${idOrName}) desc, created_at desc limit 1`,
    )
    return (await withLeases(database, rows))[0] ?? null
  },

  async placedLeases() {
    const rows = await database.run(
      (sql) => sql<LeaseRow[]>`select * from leases where node is not null and state <> 'closed'`,
    )
    return rows.map(leaseOf)
  },

  async leasesElsewhere(gateway) {
    const rows = await database.run(
      (sql) => sql<LeaseRow[]>`
        select l.* from leases l join deployments d on d.id = l.deployment
        where d.closed_at is null and d.gateway <> ${gateway} and l.state <> 'closed'`,
    )
    return rows.map(leaseOf)
  },

  changeDeployment: (id, change, events) =>
    database.transaction(async (sql) => {
      const { sdl, name, closedAt, closeReason } = change
      const changed = await sql`
        update deployments set sdl = coalesce(${sdl ?? null}, sdl), name = coalesce(${name ?? null}, name),
          closed_at = coalesce(closed_at, ${closedAt ?? null}),
          close_reason = coalesce(close_reason, ${closeReason ?? null})
        where id = ${id} and (closed_at is null or ${closedAt === undefined}) returning id`
      if (changed.length > 0) await insertEvents(sql, id, events)
    }),

  changeLease: (id, revision, change, events) =>
    database.transaction(async (sql) => {
      const { state, epoch, node, hold, doc, billedUntil } = change
      const rows = await sql<LeaseRow[]>`
        update leases set state = ${state}, epoch = ${epoch}, node = ${node}, hold = ${hold},
          doc = ${sql.json(doc)}, revision = revision + 1,
          billed_until = case when ${billedUntil === undefined} then billed_until
            else ${billedUntil ?? null}::bigint end
        where id = ${id} and revision = ${revision}
        returning *`
      const [row] = rows
      if (!row) return null
      await insertEvents(sql, row.deployment, events)
      return leaseOf(row)
    }),

  addDeploymentEvents: (deployment, events) =>
    database.transaction((sql) => insertEvents(sql, deployment, events)),

  async deploymentEvents(deployment, after, limit) {
    const rows = await database.run(
      (sql) => sql<EventRow[]>`
        select seq, at, type, lease, service, message from deployment_events
        where deployment = ${deployment} and seq > ${after} order by seq limit ${limit}`,
    )
    return rows.map((row) => ({ ...row, at: Number(row.at) }))
  },

  payLeases: (payments) => payLeases(database, payments),
})

type DeploymentRow = {
  readonly id: string
  readonly account: string
  readonly api_key: string
  readonly name: string
  readonly rule: DeploymentRecord['rule']
  readonly sdl: string
  readonly created_at: bigint
  readonly closed_at: bigint | null
  readonly close_reason: string | null
}
type EventRow = Omit<DeploymentEventRecord, 'at'> & { readonly at: bigint }
type LeaseRow = {
  readonly id: string
  readonly deployment: string
  readonly account: string
  readonly state: LeaseState
  readonly epoch: number
  readonly node: string | null
  readonly hold: string | null
  readonly billed_until: bigint | null
  readonly carry: bigint
  readonly spent_nano_usd: bigint
  readonly revision: bigint
  readonly doc: unknown
}

async function withLeases(
  database: Database,
  rows: readonly DeploymentRow[],
): Promise<StoredDeployment[]> {
  if (rows.length === 0) return []
  const ids = rows.map(({ id }) => id)
  const leases = await database.run(
    (sql) => sql<LeaseRow[]>`
      select * from leases where deployment = any(${ids}::text[]) order by id`,
  )
  const all = leases.map(leaseOf)
  return rows.map((row) => ({
    deployment: deploymentOf(row),
    leases: all.filter(({ deployment }) => deployment === row.id),
  }))
}

async function insertLease(sql: Transaction, lease: LeaseRecord): Promise<void> {
  const { id, deployment, account, state, epoch, node, hold, billedUntil, carry, doc } = lease
  await sql`
    insert into leases (id, deployment, account, state, epoch, node, hold, billed_until, carry, revision, doc)
    values (${id}, ${deployment}, ${account}, ${state}, ${epoch}, ${node}, ${hold}, ${billedUntil}, ${carry}, 1,
      ${sql.json(doc)})
    on conflict (id) do nothing`
}

/**
 * False: another deployment has the key. Whoever asks at the same time waits here for the other's commit. Keys whose time
 * is over make way.
 */
async function insertKey(
  sql: Transaction,
  { id, account, createdAt }: DeploymentRecord,
  { key, contentHash }: DeploymentKey,
): Promise<boolean> {
  await sql`delete from deployment_keys where created_at <= ${createdAt - DEPLOYMENT_KEY_MS}`
  const rows = await sql`
    insert into deployment_keys (account, key, content_hash, deployment, created_at)
    values (${account}, ${key}, ${contentHash}, ${id}, ${createdAt})
    on conflict (account, key) do update set key = excluded.key
      where deployment_keys.deployment = excluded.deployment
    returning key`
  return rows.length > 0
}

/** The deployment's row is locked first, so that numbers are given in order and none is given twice. */
async function insertEvents(
  sql: Transaction,
  deployment: string,
  events: readonly NewDeploymentEvent[],
): Promise<void> {
  if (events.length === 0) return
  await sql`select id from deployments where id = ${deployment} for update`
  const { last } = only(
    await sql<{ last: number }[]>`
      select coalesce(max(seq), 0) as last from deployment_events where deployment = ${deployment}`,
  )
  for (const [i, { at, type, lease, service, message }] of events.entries()) {
    await sql`
      insert into deployment_events (deployment, seq, at, type, lease, service, message)
      values (${deployment}, ${last + 1 + i}, ${at}, ${type}, ${lease}, ${service}, ${message})`
  }
}

const deploymentOf = (row: DeploymentRow): DeploymentRecord => ({
  id: row.id,
  account: row.account,
  apiKey: row.api_key,
  name: row.name,
  rule: row.rule,
  sdl: row.sdl,
  createdAt: Number(row.created_at),
  closedAt: row.closed_at === null ? null : Number(row.closed_at),
  closeReason: row.close_reason,
})

function leaseOf(row: LeaseRow): LeaseRecord {
  const doc = leaseDocSchema.safeParse(row.doc)
  if (!doc.success)
    throw new Fault('store_row_unreadable', `the lease ${row.id} cannot be read`, {
      cause: doc.error,
    })
  return {
    id: row.id,
    deployment: row.deployment,
    account: row.account,
    state: row.state,
    epoch: row.epoch,
    node: row.node,
    hold: row.hold,
    billedUntil: row.billed_until === null ? null : Number(row.billed_until),
    carry: row.carry,
    spentNanoUsd: row.spent_nano_usd,
    revision: Number(row.revision),
    doc: doc.data,
  }
}
