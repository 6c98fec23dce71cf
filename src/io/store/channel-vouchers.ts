/**
 * Vouchers become credit: a batch in one statement, so in one durable commit. Locks are taken in the order of settle.ts, tenants
 * before what is theirs:
 *
 *   tenants   the balances of the channels' accounts, in order of account
 *   kept      the channels, in order of id: open, allowed less, deposited enough?
 *   raised    those that are: by how much, and what of it the operator stood for
 *   posted    world:vouchers → tenant, and → operator:uncollected for what it stood for
 *
 * The transfer's key holds the ceiling: whoever brings the same voucher again, from whichever gateway, credits nothing.
 */
import type { Database } from './database.ts'
import { VOUCHERS, type NewVoucher, type VoucherOutcome } from './channel-records.ts'
import { UNCOLLECTED } from './store.ts'

const MAX_VOUCHERS = 500

/** See `ChannelStore.creditVouchers`. */
export async function creditVouchers(
  database: Database,
  vouchers: readonly NewVoucher[],
): Promise<VoucherOutcome[]> {
  if (vouchers.length === 0) return []
  if (vouchers.length > MAX_VOUCHERS)
    throw new RangeError(`${vouchers.length} vouchers, at most ${MAX_VOUCHERS} in a batch`)
  const ids = vouchers.map(({ channel }) => channel)
  if (new Set(ids).size < ids.length) throw new RangeError('two vouchers of one channel in a batch')
  const rows = await database.run(
    (sql) => sql<{ id: string; outcome: VoucherOutcome }[]>`
with input as materialized (
  select * from unnest(
    ${ids}::text[], ${vouchers.map(({ ceilingUnits }) => String(ceilingUnits))}::text[]::bigint[],
    ${vouchers.map(({ signature }) => signature)}::text[]
  ) as t (id, ceiling, signature)
), tenants as materialized (
  select account from tenant_balances
  where account in (select c.account from channels c join input i on i.id = c.id)
  order by account for update
), kept as materialized (
  select * from channels
  where id in (select id from input) and (select count(*) from tenants) > 0
  order by id for update
), raised as materialized (
  select k.id, k.account, k.returns, i.ceiling, i.signature, i.ceiling - k.credited_units as rise,
    least(k.uncollected_units, i.ceiling - k.credited_units) as repaid
  from kept k join input i on i.id = k.id
  where k.state <> 'closing' and i.ceiling > k.allowed_units and i.ceiling <= k.balance_units
), moved as (
  update channels c set allowed_units = r.ceiling, credited_units = r.ceiling,
    uncollected_units = c.uncollected_units - r.repaid,
    ceiling_units = greatest(c.ceiling_units, r.ceiling),
    signature = case when r.ceiling > c.ceiling_units then r.signature else c.signature end
  from raised r where c.id = r.id
), posted as (
  insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
  select 'voucher:' || id || ':' || ceiling || case when returns > 0 then '/' || returns else '' end,
    ${VOUCHERS}, 'tenant:' || account, (rise - repaid) * 1000, 'voucher', id, ${Date.now()}::bigint
  from raised where rise > repaid
  union all
  select 'voucher:' || id || ':' || ceiling || '/' || returns || '/uncollected',
    ${VOUCHERS}, ${UNCOLLECTED}, repaid * 1000, 'voucher', id, ${Date.now()}
  from raised where repaid > 0
), paid as (
  update tenant_balances t set balance_nano_usd = t.balance_nano_usd + g.nano_usd
  from (select account, sum((rise - repaid) * 1000)::bigint as nano_usd from raised group by account) g
  where t.account = g.account
)
select i.id, case
  when k.id is null then 'unknown'
  when r.id is not null then 'credited'
  when k.state = 'closing' then 'closing'
  when i.ceiling <= k.allowed_units then 'known'
  else 'above_deposit' end as outcome
from input i left join kept k on k.id = i.id left join raised r on r.id = i.id`,
  )
  const outcomes = new Map(rows.map(({ id, outcome }) => [id, outcome]))
  return ids.map((id) => outcomes.get(id) ?? 'unknown')
}
