/**
 * Settling: a batch of attempts is paid in one statement, so in one durable commit.
 *
 * What it does, in the order in which it takes its locks (the same everywhere, so that batches never deadlock):
 *
 *   fresh     usage rows, in order of attempt; those whose attempt is known are left out: nothing is paid twice
 *   tenants   the balances of who pays, in order of account
 *   drawn     what each named hold still has for its own tenant, as far as it is due
 *   bills     a tenant pays from its holds, then from what is available; the rest stays uncollected
 *   shares    the bill split over the attempts, in order: the last ones are those not collected in full
 *   posted    tenant → node for what was collected, operator:uncollected → node for the rest: the node is
 *             always paid, and the ledger always sums to zero
 *
 * and then the balances, holds and key spending that follow from it, and the receipts. No table is changed twice
 * in one statement: databases that speak PostgreSQL's language but are not PostgreSQL refuse that.
 */
import { only } from './accounts.ts'
import type { Database, Sql } from './database.ts'
import { settleAgain } from './settle-again.ts'
import { batchColumns, settlementColumns } from './settle-columns.ts'
import { UNCOLLECTED, type Settlement, type SettleOutcome } from './store.ts'

/** About 600 KB on the wire and 30 ms of the tenants' locks. */
export const MAX_SETTLEMENTS = 500

/** See `Store.settle`. */
export async function settle(
  database: Database,
  batch: readonly Settlement[],
): Promise<SettleOutcome[]> {
  if (batch.length === 0) return []
  if (batch.length > MAX_SETTLEMENTS)
    throw new RangeError(`${batch.length} settlements, at most ${MAX_SETTLEMENTS} in a batch`)
  const first = firstOfEachAttempt(batch)
  const { known, uncollected } = await database.run((sql) => pay(sql, first))
  const outcomes = new Map<Settlement, SettleOutcome>()
  if (known !== null || first.length < batch.length) {
    const knownAttempts = new Set(lines(known))
    const paidNow = new Set(first.filter(({ usage }) => !knownAttempts.has(usage.attempt)))
    const again = batch.filter((settlement) => !paidNow.has(settlement))
    for (const [index, outcome] of (await settleAgain(database, again)).entries())
      outcomes.set(again[index]!, outcome)
  }
  const short = new Set(lines(uncollected))
  return batch.map(
    (settlement) =>
      outcomes.get(settlement) ?? (short.has(settlement.usage.attempt) ? 'uncollected' : 'settled'),
  )
}

/** An attempt can be here twice, by the gateway's own witness and by a receipt that came after all. The first is paid. */
function firstOfEachAttempt(batch: readonly Settlement[]): readonly Settlement[] {
  const attempts = new Set<string>()
  for (const { usage } of batch) attempts.add(usage.attempt)
  if (attempts.size === batch.length) return batch
  return batch.filter(({ usage }) => attempts.delete(usage.attempt))
}

const lines = (text: string | null): string[] => text?.split('\n') ?? []

/** Lists of attempts, a line each; null when there are none, as nearly always. */
type Paid = { readonly known: string | null; readonly uncollected: string | null }

async function pay(sql: Sql, batch: readonly Settlement[]): Promise<Paid> {
  const c = settlementColumns(batch)
  const b = batchColumns(batch.map(({ receipt }) => receipt))
  return only(
    await sql<Paid[]>`
with input as materialized (
  select * from unnest(
    string_to_array(${c.attempt}, chr(10), ''), string_to_array(${c.request}, chr(10), ''),
    string_to_array(${c.account}, chr(10), ''), string_to_array(${c.apiKey}, chr(10), ''),
    string_to_array(${c.node}, chr(10), ''), string_to_array(${c.model}, chr(10), ''),
    string_to_array(${c.api}, chr(10), ''), string_to_array(${c.inputTokens}, chr(10), '')::integer[],
    string_to_array(${c.outputTokens}, chr(10), '')::integer[], string_to_array(${c.nanoUsd}, chr(10), '')::bigint[],
    string_to_array(${c.hold}, chr(10), ''), string_to_array(${c.startedAt}, chr(10), '')::bigint[],
    string_to_array(${c.finishedAt}, chr(10), '')::bigint[], string_to_array(${c.witness}, chr(10), ''),
    string_to_array(${c.receipt}, chr(10), ''), string_to_array(${c.root}, chr(10), ''),
    string_to_array(${c.leafIndex}, chr(10), '')::integer[]
  ) as t (
    attempt, request, account, api_key, node, model, api, billed_input_tokens, output_tokens, nano_usd, hold,
    started_at, finished_at, witness, receipt, root, leaf_index
  )
), fresh as (
  insert into usage (
    attempt, request, account, api_key, node, model, api, billed_input_tokens, output_tokens, nano_usd, hold,
    started_at, finished_at, witness
  )
  select attempt, request, account, api_key, node, model, api, billed_input_tokens, output_tokens, nano_usd, hold,
    started_at, finished_at, witness
  from input order by attempt
  on conflict (attempt) do nothing
  returning attempt, request, account, api_key, node, nano_usd, hold
), due as (
  select account, sum(nano_usd)::bigint as nano_usd from fresh group by account
), tenants as materialized (
  select account, balance_nano_usd - held_nano_usd as available from tenant_balances
  where account in (select account from due)
  order by account for update
), open_holds as materialized (
  select id, account, remaining_nano_usd from holds
  where id in (select hold from fresh) and state = 'pending' and (select count(*) from tenants) > 0
  order by id for update
), drawn as materialized (
  select h.id, h.account, least(h.remaining_nano_usd, d.nano_usd) as nano_usd
  from open_holds h
  join (select hold, account, sum(nano_usd)::bigint as nano_usd from fresh group by hold, account) d
    on d.hold = h.id and d.account = h.account
), bills as materialized (
  select d.account, coalesce(h.nano_usd, 0) as drawn,
    coalesce(h.nano_usd, 0) + least(d.nano_usd - coalesce(h.nano_usd, 0), coalesce(t.available, 0)) as collected
  from due d
  left join tenants t on t.account = d.account
  left join (select account, sum(nano_usd)::bigint as nano_usd from drawn group by account) h on h.account = d.account
), shares as materialized (
  select f.attempt, f.request, f.account, f.node, f.nano_usd,
    greatest(0, least(f.nano_usd, b.collected - f.before)) as collected
  from (
    select *, sum(nano_usd) over (partition by account order by attempt rows unbounded preceding)::bigint - nano_usd as before
    from fresh
  ) f join bills b on b.account = f.account
), posted as (
  insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
  select attempt, 'tenant:' || account, 'node:' || node, collected, 'usage', request, ${Date.now()}::bigint
  from shares where collected > 0
  union all
  select attempt || '/uncollected', ${UNCOLLECTED}, 'node:' || node, nano_usd - collected, 'uncollected', request, ${Date.now()}
  from shares where collected < nano_usd
), paid as (
  update tenant_balances t set balance_nano_usd = t.balance_nano_usd - b.collected, held_nano_usd = t.held_nano_usd - b.drawn
  from bills b where t.account = b.account
), used as (
  update holds h set remaining_nano_usd = h.remaining_nano_usd - d.nano_usd from drawn d where h.id = d.id
), earned as (
  insert into node_balances (node, balance_nano_usd)
  select node, sum(nano_usd)::bigint from fresh group by node order by node
  on conflict (node) do update set balance_nano_usd = node_balances.balance_nano_usd + excluded.balance_nano_usd
), spent as (
  update key_spending k set spent_nano_usd = k.spent_nano_usd + s.nano_usd
  from (select api_key, sum(nano_usd)::bigint as nano_usd from fresh group by api_key) s where k.api_key = s.api_key
), batches as (
  insert into receipt_batches (root, signer, signed_at_ms, signature, leaves)
  select root, signer, signed_at_ms, signature, decode(leaves, 'hex') from unnest(
    string_to_array(${b.root}, chr(10)), string_to_array(${b.signer}, chr(10)),
    string_to_array(${b.signedAtMs}, chr(10))::bigint[], string_to_array(${b.signature}, chr(10)),
    string_to_array(${b.leaves}, chr(10))
  ) as t (root, signer, signed_at_ms, signature, leaves) order by root
  on conflict (root) do nothing
), kept as (
  insert into receipts (attempt, text, root, leaf_index)
  select attempt, receipt, root, leaf_index from input
  where receipt is not null and attempt in (select attempt from fresh)
)
select
  (select string_agg(attempt, chr(10)) from input where attempt not in (select attempt from fresh)) as known,
  (select string_agg(attempt, chr(10)) from shares where collected < nano_usd) as uncollected`,
  )
}
