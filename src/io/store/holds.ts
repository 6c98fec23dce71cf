/**
 * Holds: a tenant's money set aside for one gateway, for a while. Everything here and in settle.ts locks the
 * tenant's balance first and its holds after, in order of id, so that two of them never wait for each other.
 */
import { refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { only } from './accounts.ts'
import type { Database } from './database.ts'
import type { Store } from './store.ts'
import { insufficient } from './transfers.ts'

/** Keeps one statement's locks short. */
const HOLDS_PER_STATEMENT = 500

export const holdsIn = (
  database: Database,
): Pick<Store, 'openHold' | 'renewHolds' | 'closeHold' | 'expireHolds' | 'closeHoldsOf'> => ({
  openHold: (hold) => openHold(database, hold),

  async renewHolds(ids, expiresAt) {
    if (ids.length === 0) return
    await database.run(
      (sql) => sql`
        update holds set expires_at = greatest(expires_at, ${expiresAt})
        where id = any(${[...ids]}::text[]) and state = 'pending'`,
    )
  },

  async closeHold(id) {
    await endHolds(database, [id], null)
  },

  async expireHolds(now) {
    let expired = 0
    for (;;) {
      const due = await database.run(
        (sql) => sql<{ id: string }[]>`
          select id from holds where state = 'pending' and expires_at <= ${now}
          order by expires_at limit ${HOLDS_PER_STATEMENT}`,
      )
      expired += await endHolds(
        database,
        due.map(({ id }) => id),
        now,
      )
      if (due.length < HOLDS_PER_STATEMENT) return expired
    }
  },

  async closeHoldsOf(gateway, openedBefore) {
    let closed = 0
    for (;;) {
      const open = await database.run(
        (sql) => sql<{ id: string }[]>`
          select id from holds
          where state = 'pending' and gateway = ${gateway} and opened_at < ${openedBefore}
          limit ${HOLDS_PER_STATEMENT}`,
      )
      closed += await endHolds(
        database,
        open.map(({ id }) => id),
        null,
      )
      if (open.length < HOLDS_PER_STATEMENT) return closed
    }
  },
})

async function openHold(
  database: Database,
  hold: Parameters<Store['openHold']>[0],
): Promise<null | Refusal> {
  const { id, account, nanoUsd, gateway, expiresAt } = hold
  if (nanoUsd <= 0n)
    return refuse('invalid_value', `A hold is more than nothing; got ${nanoUsd}.`, {
      param: 'nanoUsd',
    })
  const rows = await database.run(
    (sql) => sql<{ available: bigint | null; opened: boolean }[]>`
      with tenant as (
        select account, balance_nano_usd - held_nano_usd as available from tenant_balances
        where account = ${account} for update
      ), opened as (
        insert into holds (id, account, gateway, nano_usd, remaining_nano_usd, state, opened_at, expires_at)
        select ${id}, account, ${gateway}, ${nanoUsd}, ${nanoUsd}, 'pending',
          (extract(epoch from clock_timestamp()) * 1000)::bigint, ${expiresAt}
        from tenant where available >= ${nanoUsd}
        on conflict (id) do nothing returning account
      ), held as (
        update tenant_balances b set held_nano_usd = b.held_nano_usd + ${nanoUsd}
        from opened where b.account = opened.account
      )
      select (select available from tenant) as available, exists (select from opened) as opened`,
  )
  const { available, opened } = only(rows)
  return opened ? null : await whyNotOpened(database, hold, available ?? 0n)
}

/** Not enough money, or this very hold is there already: an answer that got lost was asked for again. */
async function whyNotOpened(
  database: Database,
  { id, account, nanoUsd }: Parameters<Store['openHold']>[0],
  available: bigint,
): Promise<null | Refusal> {
  const [found] = await database.run(
    (sql) => sql<{ account: string; nano_usd: bigint }[]>`
      select account, nano_usd from holds where id = ${id}`,
  )
  if (!found) return insufficient(account, available, nanoUsd)
  if (found.account === account && found.nano_usd === nanoUsd) return null
  return refuse(
    'idempotency_conflict',
    `The hold '${id}' exists with another account or amount; use a new id.`,
    { details: { id, held: found.nano_usd, asked: nanoUsd } },
  )
}

/**
 * Gives back what is left of these holds. With `expiredBy`, only of those that really ended by then: one that was
 * renewed after it was looked up stays. Counting the locked tenants makes sure that all their locks are taken first.
 */
async function endHolds(
  database: Database,
  ids: readonly string[],
  expiredBy: Millis | null,
): Promise<number> {
  if (ids.length === 0) return 0
  const rows = await database.run(
    (sql) => sql<{ ended: number }[]>`
      with tenants as materialized (
        select account from tenant_balances
        where account in (select account from holds where id = any(${[...ids]}::text[]))
        order by account for update
      ), pending as materialized (
        select id, account, nano_usd, remaining_nano_usd from holds
        where id = any(${[...ids]}::text[]) and state = 'pending'
          and (${expiredBy}::bigint is null or expires_at <= ${expiredBy})
          and (select count(*) from tenants) > 0
        order by id for update
      ), returned as (
        update tenant_balances b set held_nano_usd = b.held_nano_usd - p.remaining
        from (select account, sum(remaining_nano_usd)::bigint as remaining from pending group by account) p
        where b.account = p.account
      ), ended as (
        update holds h set remaining_nano_usd = 0, state = case
          when ${expiredBy}::bigint is not null then 'expired'
          when p.remaining_nano_usd = p.nano_usd then 'voided'
          else 'posted' end
        from pending p where h.id = p.id
        returning h.id
      )
      select count(*)::int as ended from ended`,
  )
  return only(rows).ended
}
