/**
 * The check that money is neither made nor lost: every balance is worked out again from the transfers, every held
 * sum from the open holds, every channel's credit from its vouchers, and all of it from one snapshot, so that it can run at any time.
 */
import { only } from './accounts.ts'
import type { Database } from './database.ts'
import { NANO_USD_PER_UNIT } from './payout-records.ts'
import type { LedgerAudit } from './store.ts'

/** It reads every transfer there ever was. */
const AUDIT_DEADLINE_MS = 30 * 60_000

type AuditRow = {
  readonly sum: bigint
  readonly transfers: bigint
  readonly wrong: readonly string[] | null
}

export async function auditLedger(database: Database): Promise<LedgerAudit> {
  const row = await database.transaction(async (sql) => {
    await sql`set local statement_timeout = 0`
    return only(
      await sql<AuditRow[]>`
        with moved as (
          select account, sum(change) as net from (
            select debit as account, -sum(nano_usd) as change from transfers group by debit
            union all select credit, sum(nano_usd) from transfers group by credit
          ) sides group by account
        ), reserved as (
          select account, sum(remaining_nano_usd) as held from holds where state = 'pending' group by account
        ), kept as (
          select 'tenant:' || t.account as account, t.balance_nano_usd as balance,
            t.held_nano_usd = coalesce(r.held, 0) and t.held_nano_usd between 0 and t.balance_nano_usd as holds_fit
          from tenant_balances t left join reserved r on r.account = t.account
          union all select 'node:' || node, balance_nano_usd, true from node_balances
        ), compared as (
          select account, coalesce(k.balance, 0) as balance, coalesce(m.net, 0) as net,
            coalesce(k.holds_fit, true) as holds_fit,
            k.account is null and account !~ '^(tenant|node):' as computed
          from kept k full join moved m using (account)
        ), usage_paid as (
          select (select coalesce(sum(nano_usd), 0) from usage) =
            (select coalesce(sum(nano_usd), 0) from transfers where kind in ('usage', 'uncollected')) as fits
        ), leases_paid as (
          select (select coalesce(sum(spent_nano_usd), 0) from leases) =
            (select coalesce(sum(nano_usd), 0) from transfers where kind = 'lease') as fits
        ), payouts_paid as (
          select coalesce(p.address, t.address) as address from payout_accounts p full join (
            select reference as address, sum(nano_usd) as nano_usd from transfers where kind = 'payout' group by reference
          ) t on t.address = p.address
          where coalesce(p.cumulative_units * ${NANO_USD_PER_UNIT}::numeric, 0) <> coalesce(t.nano_usd, 0)
        ), payout_epochs_kept as (
          select e.number from payout_epochs e left join (
            select epoch, sum(cumulative_units - before) as units from (
              select epoch, cumulative_units,
                lag(cumulative_units, 1, 0::bigint) over (partition by address order by epoch) as before
              from payout_leaves
            ) steps group by epoch
          ) l on l.epoch = e.number
          where e.closed_at is not null and (e.paid_units <> coalesce(l.units, 0) or e.total_units <>
            (select sum(paid_units) from payout_epochs up_to where up_to.number <= e.number))
        ), fees_taken as (
          select (select coalesce(sum(fee_nano_usd), 0) from payout_epochs) =
            (select coalesce(sum(nano_usd), 0) from transfers where kind = 'fee') as fits
        ), channels_credited as (
          select coalesce(c.id, v.id) as id,
            coalesce(c.credited_units, 0) * 1000 = coalesce(v.credited, 0)
              and coalesce(c.uncollected_units, 0) * 1000 = coalesce(v.uncollected, 0) as fits
          from channels c full join (
            select reference as id,
              sum(case when debit = 'world:vouchers' then nano_usd else -nano_usd end) as credited,
              sum(case when debit = 'operator:uncollected' then nano_usd
                when credit = 'operator:uncollected' then -nano_usd else 0 end) as uncollected
            from transfers where kind = 'voucher' group by reference
          ) v on v.id = c.id
        )
        select
          (select coalesce(sum(case when computed then net else balance end), 0)::bigint from compared) as sum,
          (select count(*) from transfers) as transfers,
          (select array_agg(account) from (
            select account from compared
            where not computed and (balance <> net or balance < 0 or not holds_fit)
            union all select 'usage' from usage_paid where not fits
            union all select 'leases' from leases_paid where not fits
            union all select 'payout:' || address from payouts_paid
            union all select 'payout epoch ' || number from payout_epochs_kept
            union all select 'fees' from fees_taken where not fits
            union all select 'channel:' || id from channels_credited where not fits
          ) found) as wrong`,
    )
  }, AUDIT_DEADLINE_MS)
  return {
    sumNanoUsd: row.sum,
    transfers: Number(row.transfers),
    wrong: row.wrong ?? [],
  }
}
