/** API keys, by hash. What a key spent is kept apart (`key_spending`): it changes with every settled batch. */
import { limitsOf, numberOrNull, only, type LimitColumns } from './accounts.ts'
import type { Database, Transaction } from './database.ts'
import { SCOPES, type ApiKey, type Scope, type Store } from './store.ts'

/** A cache that was away for long asks again with the last revision it got. */
const MAX_CHANGED_KEYS = 10_000

type KeyRow = LimitColumns & {
  readonly id: string
  readonly account: string
  readonly name: string
  readonly hint: string
  readonly hash: string
  readonly scopes: readonly string[]
  readonly budget_nano_usd: bigint | null
  readonly spent_nano_usd: bigint
  readonly created_at: bigint
  readonly expires_at: bigint | null
  readonly revoked_at: bigint | null
  readonly revision: bigint
}

export const keysIn = (
  database: Database,
): Pick<
  Store,
  'createKey' | 'updateKey' | 'revokeKey' | 'keys' | 'keyByHash' | 'keysSince' | 'keySpending'
> => ({
  createKey: (key) =>
    database.transaction(async (sql) => {
      const revision = await nextRevision(sql)
      await sql`insert into key_spending (api_key) values (${key.id})`
      const rows = await sql<KeyRow[]>`
        insert into api_keys (
          id, account, name, hint, hash, scopes, requests_per_minute, tokens_per_minute, concurrency,
          budget_nano_usd, created_at, expires_at, revision
        ) values (
          ${key.id}, ${key.account}, ${key.name}, ${key.hint}, ${key.hash}, ${[...key.scopes]},
          ${key.limits.requestsPerMinute}, ${key.limits.tokensPerMinute}, ${key.limits.concurrency},
          ${key.budgetNanoUsd}, ${Date.now()}, ${key.expiresAt}, ${revision}
        ) returning *, 0::bigint as spent_nano_usd`
      return only(rows.map(keyOf))
    }),

  updateKey: (account, id, change) =>
    database.transaction(async (sql) => {
      const revision = await nextRevision(sql)
      const [row] = await selectForUpdate(sql, account, id)
      if (!row) return null
      const { name, scopes, limits, budgetNanoUsd, expiresAt } = { ...keyOf(row), ...change }
      const rows = await sql<KeyRow[]>`
        update api_keys set name = ${name}, scopes = ${[...scopes]},
          requests_per_minute = ${limits.requestsPerMinute}, tokens_per_minute = ${limits.tokensPerMinute},
          concurrency = ${limits.concurrency}, budget_nano_usd = ${budgetNanoUsd}, expires_at = ${expiresAt},
          revision = ${revision}
        where id = ${id}
        returning *, ${row.spent_nano_usd}::bigint as spent_nano_usd`
      return only(rows.map(keyOf))
    }),

  revokeKey: (account, id) =>
    database.transaction(async (sql) => {
      const revision = await nextRevision(sql)
      const [row] = await selectForUpdate(sql, account, id)
      if (!row) return null
      if (row.revoked_at !== null) return keyOf(row)
      const rows = await sql<KeyRow[]>`
        update api_keys set revoked_at = ${Date.now()}, revision = ${revision} where id = ${id}
        returning *, ${row.spent_nano_usd}::bigint as spent_nano_usd`
      return only(rows.map(keyOf))
    }),

  async keys(account) {
    const rows = await database.run(
      (sql) => sql<KeyRow[]>`
        select k.*, s.spent_nano_usd from api_keys k join key_spending s on s.api_key = k.id
        where k.account = ${account} order by k.created_at, k.id`,
    )
    return rows.map(keyOf)
  },

  async keyByHash(hash) {
    const rows = await database.run(
      (sql) => sql<KeyRow[]>`
        select k.*, s.spent_nano_usd from api_keys k join key_spending s on s.api_key = k.id
        where k.hash = ${hash}`,
    )
    return rows.map(keyOf)[0] ?? null
  },

  async keysSince(revision) {
    const rows = await database.run(
      (sql) => sql<KeyRow[]>`
        select k.*, s.spent_nano_usd from api_keys k join key_spending s on s.api_key = k.id
        where k.revision > ${revision} order by k.revision limit ${MAX_CHANGED_KEYS}`,
    )
    return rows.map(keyOf)
  },

  async keySpending(ids) {
    const rows = await database.run(
      (sql) => sql<{ api_key: string; spent_nano_usd: bigint }[]>`
        select api_key, spent_nano_usd from key_spending where api_key = any(${[...ids]}::text[])`,
    )
    return new Map(rows.map((row) => [row.api_key, row.spent_nano_usd]))
  },
})

/** Takes the lock of all key changes first, so that revisions are committed in their order. */
async function nextRevision(sql: Transaction): Promise<bigint> {
  const rows = await sql<{ value: bigint }[]>`
    update key_revision set value = value + 1 returning value`
  return only(rows).value
}

const selectForUpdate = (sql: Transaction, account: string, id: string) => sql<KeyRow[]>`
  select k.*, s.spent_nano_usd from api_keys k join key_spending s on s.api_key = k.id
  where k.id = ${id} and k.account = ${account} for update of k`

const keyOf = (row: KeyRow): ApiKey => ({
  id: row.id,
  account: row.account,
  name: row.name,
  hint: row.hint,
  hash: row.hash,
  scopes: row.scopes.filter(isScope),
  limits: limitsOf(row),
  budgetNanoUsd: row.budget_nano_usd,
  spentNanoUsd: row.spent_nano_usd,
  createdAt: Number(row.created_at),
  expiresAt: numberOrNull(row.expires_at),
  revokedAt: numberOrNull(row.revoked_at),
  revision: row.revision,
})

const isScope = (text: string): text is Scope => SCOPES.some((scope) => scope === text)
