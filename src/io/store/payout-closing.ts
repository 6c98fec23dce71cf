/**
 * Closing a payout epoch: one transaction, in the order in which locks are taken everywhere.
 *
 *   the open epoch's row ──► another gateway that closes it waits here, and then hears that it was late
 *   due       of each node with an address: balance, fee on what is new in it, whole units; less than a unit stays
 *   posted    node → operator:fees, node → world:payouts
 *   leaves    what each address is owed since the beginning, where this epoch changed it
 *   then addresses that were to change, the root, the chain actions, and the next epoch
 *
 * A node's settlements wait for it as long as its balance is locked: the tree of ten thousand leaves takes half a second.
 */
import type { Address, Hex } from 'viem'
import { only } from './accounts.ts'
import { writeAction } from './chain-actions.ts'
import type postgres from 'postgres'
import type { Database, Transaction } from './database.ts'
import {
  FEES,
  NANO_USD_PER_UNIT,
  PAYOUTS,
  type PayoutClosing,
  type PayoutEpoch,
} from './payout-records.ts'

const CLOSING_DEADLINE_MS = 60_000

/** A connection or a transaction. */
export type AnySql = postgres.ISql<{ bigint: bigint }>
export type Fragment = postgres.PendingQuery<postgres.Row[]>

/**
 * Per node with an address: `units` to pay, `fee`, and `carry`, what stays. The fee is taken of what came in since the last
 * payout and never again of what that left over; a node that is owed less than a unit is left alone.
 */
export const dueSql = (sql: AnySql, feeBps: Fragment, some: Fragment = sql``) => sql`
  select node, address, fee, (balance - fee) / ${NANO_USD_PER_UNIT}::bigint as units,
    (balance - fee) % ${NANO_USD_PER_UNIT}::bigint as carry
  from (
    select a.node, a.address, b.balance_nano_usd as balance,
      div(greatest(b.balance_nano_usd - a.carry_nano_usd, 0)::numeric * (${feeBps}), 10000)::bigint as fee
    from payout_addresses a join node_balances b on b.node = a.node
    where true ${some}
  ) gross`

/** See `PayoutStore.closePayoutEpoch`. */
export const closePayoutEpoch = (
  database: Database,
  closing: PayoutClosing,
): Promise<PayoutEpoch | 'late' | 'nothing'> =>
  database.transaction((sql) => close(sql, closing), CLOSING_DEADLINE_MS)

type Sums = { readonly nodes: bigint; readonly units: bigint; readonly fee: bigint }

async function close(
  sql: Transaction,
  { epoch, nextFeeBps, now, evenIfNothing, plan }: PayoutClosing,
): Promise<PayoutEpoch | 'late' | 'nothing'> {
  await sql`set local statement_timeout = '60s'`
  const [open] = await sql<{ fee_bps: number; opened_at: bigint }[]>`
    select fee_bps, opened_at from payout_epochs where number = ${epoch} and closed_at is null for update`
  if (!open) return 'late'
  // Nodes name addresses at any time: who comes now waits for the next epoch. Balances in the order of settlements.
  await sql`lock table payout_addresses in share row exclusive mode`
  await sql`
    select node from node_balances where node in (select node from payout_addresses) order by node for update`
  const sums = await post(sql, epoch, open.fee_bps, now)
  if (sums.units === 0n && !evenIfNothing) return 'nothing'
  const leaves = await sql<{ address: Address; cumulativeUnits: bigint }[]>`
    select address, cumulative_units as "cumulativeUnits" from payout_accounts order by address`
  const totalUnits = leaves.reduce((sum, leaf) => sum + leaf.cumulativeUnits, 0n)
  if (totalUnits === 0n) return 'nothing'
  const { root, actions } = plan([...leaves], totalUnits)
  await sql`
    update payout_addresses set address = next_address, next_address = null where next_address is not null`
  await sql`
    update payout_epochs set closed_at = ${now}, root = ${root.toLowerCase()}, total_units = ${totalUnits},
      paid_units = ${sums.units}, fee_nano_usd = ${sums.fee} where number = ${epoch}`
  await sql`
    insert into payout_epochs (number, fee_bps, opened_at) values (${epoch + 1}, ${nextFeeBps}, ${now})`
  for (const action of actions) await writeAction(sql, action)
  const closed = { at: now, root: lower(root), totalUnits, paidUnits: sums.units }
  return {
    number: epoch,
    feeBps: open.fee_bps,
    openedAt: Number(open.opened_at),
    closed: { ...closed, feeNanoUsd: sums.fee },
  }
}

/** Moves the money and fixes the leaves that change, in one statement over one snapshot of what is due. */
async function post(sql: Transaction, epoch: number, feeBps: number, now: number): Promise<Sums> {
  return only(
    await sql<Sums[]>`
      with due as materialized (
        select * from (${dueSql(sql, sql`select ${feeBps}::numeric`)}) all_due where units > 0
      ), posted as (
        insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
        select ${`payout:${epoch}:`} || node, 'node:' || node, ${PAYOUTS}, units * ${NANO_USD_PER_UNIT}::bigint, 'payout',
          address, ${now}::bigint from due
        union all
        select ${`fee:${epoch}:`} || node, 'node:' || node, ${FEES}, fee, 'fee', address, ${now} from due where fee > 0
      ), taken as (
        update node_balances b set balance_nano_usd = d.carry from due d where b.node = d.node
      ), carried as (
        update payout_addresses a set carry_nano_usd = d.carry from due d where a.node = d.node
      ), owed as (
        insert into payout_accounts (address, cumulative_units)
        select address, sum(units)::bigint from due group by address
        on conflict (address) do update set cumulative_units = payout_accounts.cumulative_units + excluded.cumulative_units
        returning address, cumulative_units
      ), fixed as (
        insert into payout_leaves (address, epoch, cumulative_units) select address, ${epoch}::bigint, cumulative_units from owed
      )
      select count(*) as nodes, coalesce(sum(units), 0)::bigint as units, coalesce(sum(fee), 0)::bigint as fee from due`,
  )
}

const lower = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`
