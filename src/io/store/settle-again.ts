/**
 * What comes a second time: an answer that got lost was asked for again, or a node's receipt arrives after the
 * gateway had to be its own witness. No money moves; a receipt that was missing is kept.
 */
import type { Database, Sql } from './database.ts'
import { batchColumns, settlementColumns } from './settle-columns.ts'
import type { Settlement, SettleOutcome, Usage } from './store.ts'
import { usageOf, type UsageRow } from './usage.ts'

export async function settleAgain(
  database: Database,
  again: readonly Settlement[],
): Promise<SettleOutcome[]> {
  const paid = await database.run((sql) => paidUsage(sql, again))
  const outcomes = again.map(({ usage }) => compare(paid.get(usage.attempt), usage))
  const late = again.filter(
    (settlement, index) => settlement.receipt && outcomes[index] === 'duplicate',
  )
  if (late.length > 0) await database.run((sql) => keepReceipts(sql, late))
  return outcomes
}

async function paidUsage(
  sql: Sql,
  again: readonly Settlement[],
): Promise<ReadonlyMap<string, Usage>> {
  const rows = await sql<UsageRow[]>`
    select * from usage where attempt = any(${again.map(({ usage }) => usage.attempt)}::text[])`
  return new Map(rows.map((row) => [row.attempt, usageOf(row)]))
}

/** What an attempt is: these never differ, whoever tells of it. */
const IDENTITY = ['request', 'account', 'node'] as const
/** What one witness says of it. Times and hold are not money: a receipt handed in again has lost its hold. */
const CONTENTS = ['apiKey', 'model', 'api', 'billedInputTokens', 'outputTokens', 'nanoUsd'] as const

/** Two witnesses may count differently, and the first was paid; the same witness must not. */
function compare(paid: Usage | undefined, told: Usage): 'duplicate' | 'conflict' {
  if (!paid) throw new Error(`${told.attempt} was paid before, but its usage is gone`)
  const fields = paid.witness === told.witness ? [...IDENTITY, ...CONTENTS] : IDENTITY
  return fields.every((field) => paid[field] === told[field]) ? 'duplicate' : 'conflict'
}

async function keepReceipts(sql: Sql, late: readonly Settlement[]): Promise<void> {
  const c = settlementColumns(late)
  const b = batchColumns(late.map(({ receipt }) => receipt))
  await sql`
    with batches as (
      insert into receipt_batches (root, signer, signed_at_ms, signature, leaves)
      select root, signer, signed_at_ms, signature, decode(leaves, 'hex') from unnest(
        string_to_array(${b.root}, chr(10)), string_to_array(${b.signer}, chr(10)),
        string_to_array(${b.signedAtMs}, chr(10))::bigint[], string_to_array(${b.signature}, chr(10)),
        string_to_array(${b.leaves}, chr(10))
      ) as t (root, signer, signed_at_ms, signature, leaves) order by root
      on conflict (root) do nothing
    )
    insert into receipts (attempt, text, root, leaf_index)
    select * from unnest(
      string_to_array(${c.attempt}, chr(10)), string_to_array(${c.receipt}, chr(10)),
      string_to_array(${c.root}, chr(10)), string_to_array(${c.leafIndex}, chr(10))::integer[]
    ) as t (attempt, text, root, leaf_index) order by attempt
    on conflict (attempt) do nothing`
}
