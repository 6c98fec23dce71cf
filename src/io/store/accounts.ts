/** Accounts: who buys, and who runs the network. */
import type { Database } from './database.ts'
import type { Account, AccountKind, AccountLimits, Store } from './store.ts'

/** Limits as three columns of a row. */
export type LimitColumns = {
  readonly requests_per_minute: bigint | null
  readonly tokens_per_minute: bigint | null
  readonly concurrency: bigint | null
}

type AccountRow = LimitColumns & {
  readonly id: string
  readonly kind: AccountKind
  readonly name: string
  readonly created_at: bigint
}

export const accountsIn = (
  database: Database,
): Pick<Store, 'createAccount' | 'account' | 'accounts'> => ({
  async createAccount({ id, kind, name, limits }) {
    const rows = await database.run(
      (sql) => sql<AccountRow[]>`
        with ledger as (insert into tenant_balances (account) values (${id}) on conflict do nothing)
        insert into accounts (id, kind, name, requests_per_minute, tokens_per_minute, concurrency, created_at)
        values (
          ${id}, ${kind}, ${name},
          ${limits.requestsPerMinute}, ${limits.tokensPerMinute}, ${limits.concurrency}, ${Date.now()}
        )
        on conflict (id) do update set id = excluded.id
        returning *`,
    )
    return only(rows.map(accountOf))
  },

  async account(id) {
    const rows = await database.run(
      (sql) => sql<AccountRow[]>`select * from accounts where id = ${id}`,
    )
    return rows.map(accountOf)[0] ?? null
  },

  async accounts() {
    const rows = await database.run(
      (sql) => sql<AccountRow[]>`select * from accounts order by created_at, id`,
    )
    return rows.map(accountOf)
  },
})

const accountOf = (row: AccountRow): Account => ({
  id: row.id,
  kind: row.kind,
  name: row.name,
  createdAt: Number(row.created_at),
  limits: limitsOf(row),
})

export const limitsOf = (row: LimitColumns): AccountLimits => ({
  requestsPerMinute: numberOrNull(row.requests_per_minute),
  tokensPerMinute: numberOrNull(row.tokens_per_minute),
  concurrency: numberOrNull(row.concurrency),
})

export const numberOrNull = (value: bigint | null): number | null =>
  value === null ? null : Number(value)

/** The row of a statement that always gives one. */
export function only<T>(rows: readonly T[]): T {
  const [first] = rows
  if (first === undefined) throw new Error('a statement that always gives a row gave none')
  return first
}
