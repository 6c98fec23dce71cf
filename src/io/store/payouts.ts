/** Payouts in PostgreSQL: see payout-records.ts. The closing itself is in payout-closing.ts. */
import type { Address, Hex } from 'viem'
import { only } from './accounts.ts'
import type { Database, Transaction } from './database.ts'
import { closePayoutEpoch, dueSql, type AnySql, type Fragment } from './payout-closing.ts'
import type {
  OwedNow,
  PayoutAddress,
  PayoutEpoch,
  PayoutLeaf,
  PayoutStore,
} from './payout-records.ts'

const MAX_NODES = 1_000
/** A tree of a hundred thousand leaves is read and hashed within it. */
const LEAVES_DEADLINE_MS = 60_000

export const payoutsIn = (database: Database): PayoutStore => ({
  notePayoutAddress: (wish) => database.transaction((sql) => note(sql, wish)),

  async payoutAddress(node) {
    const [row] = await database.run(
      (sql) => sql<AddressRow[]>`select * from payout_addresses where node = ${node}`,
    )
    return row ? addressOf(row) : null
  },

  openPayoutEpoch: (first) => database.transaction((sql) => open(sql, first)),

  async payoutEpochs({ limit, before = 2 ** 32 }) {
    const rows = await database.run(
      (sql) => sql<EpochRow[]>`
        select * from payout_epochs where number < ${before} order by number desc limit ${limit}`,
    )
    return rows.map(epochOf)
  },

  async payoutEpoch(number) {
    const [row] = await database.run(
      (sql) => sql<EpochRow[]>`select * from payout_epochs where number = ${number}`,
    )
    return row ? epochOf(row) : null
  },

  async payoutEpochByRoot(root) {
    const [row] = await database.run(
      (sql) => sql<EpochRow[]>`
        select * from payout_epochs where root = ${root.toLowerCase()} order by number desc limit 1`,
    )
    return row ? epochOf(row) : null
  },

  async payoutLeaves(epoch) {
    const rows = await database.run(
      (sql) => sql<LeafRow[]>`
        select distinct on (address) address, cumulative_units from payout_leaves
        where epoch <= ${epoch} order by address, epoch desc`,
      LEAVES_DEADLINE_MS,
    )
    return rows.map(leafOf)
  },

  async owedToNodes(nodes) {
    if (nodes.length > MAX_NODES)
      throw new RangeError(`${nodes.length} nodes, at most ${MAX_NODES} at a time`)
    if (nodes.length === 0) return []
    const rows = await database.run((sql) => {
      const asked = sql`select address from payout_addresses where node = any(${[...nodes]}::text[])`
      return sql<OwedRow[]>`${owedSql(sql, asked, nodes)}`
    })
    return rows.map(owedOf)
  },

  async owedTo(address) {
    const asked = address.toLowerCase()
    const [row] = await database.run(
      (sql) => sql<OwedRow[]>`${owedSql(sql, sql`select ${asked}::text as address`, [])}`,
    )
    return row ? owedOf(row) : null
  },

  async payoutsDue() {
    return only(
      await database.run(
        (sql) => sql<{ units: bigint; totalUnits: bigint; feeNanoUsd: bigint }[]>`
          with due as (${dueSql(sql, sql`select fee_bps from payout_epochs where closed_at is null`)})
          select coalesce(sum(units), 0)::bigint as units,
            (coalesce(sum(units), 0) + (select coalesce(sum(cumulative_units), 0) from payout_accounts))::bigint as "totalUnits",
            coalesce(sum(fee) filter (where units > 0), 0)::bigint as "feeNanoUsd" from due`,
      ),
    )
  },

  closePayoutEpoch: (closing) => closePayoutEpoch(database, closing),
})

async function note(
  sql: Transaction,
  wish: Parameters<PayoutStore['notePayoutAddress']>[0],
): Promise<PayoutAddress> {
  const { node, sequence, statement, signature, now } = wish
  const address = wish.address.toLowerCase()
  const rows = await sql<AddressRow[]>`
    insert into payout_addresses (node, address, sequence, statement, signature, noted_at)
    values (${node}, ${address}, ${sequence}, ${statement}, ${signature}, ${now})
    on conflict (node) do update set
      next_address = nullif(excluded.address, payout_addresses.address), sequence = excluded.sequence,
      statement = excluded.statement, signature = excluded.signature, noted_at = excluded.noted_at
      where payout_addresses.sequence < excluded.sequence
    returning *`
  if (rows[0]) return addressOf(rows[0])
  return addressOf(
    only(await sql<AddressRow[]>`select * from payout_addresses where node = ${node}`),
  )
}

async function open(
  sql: Transaction,
  { number, feeBps, now }: { number: number; feeBps: number; now: number },
): Promise<PayoutEpoch> {
  // Whoever else makes the first one waits at the unique index of open epochs, and then finds it.
  await sql`
    insert into payout_epochs (number, fee_bps, opened_at)
    select ${number}, ${feeBps}, ${now} where not exists (select 1 from payout_epochs)
    on conflict do nothing`
  return epochOf(only(await sql<EpochRow[]>`select * from payout_epochs where closed_at is null`))
}

/** What is owed to the addresses of `asked`, were the epoch closed at this moment. */
function owedSql(sql: AnySql, asked: Fragment, nodes: readonly string[]): Fragment {
  return sql`
    with asked as (${asked}), due as (
      ${dueSql(
        sql,
        sql`select fee_bps from payout_epochs where closed_at is null`,
        sql`and a.address in (select address from asked)`,
      )}
    ), known as (
      select address from asked where address in (select address from payout_addresses)
        or address in (select address from payout_accounts)
    )
    select k.address, e.number as epoch, e.fee_bps,
      (coalesce(p.cumulative_units, 0) + coalesce(d.units, 0))::bigint as cumulative_units,
      (select array_agg(node order by node) from payout_addresses a
        where a.address = k.address and a.node = any(${[...nodes]}::text[])) as nodes
    from (select distinct address from known) k
    join payout_epochs e on e.closed_at is null
    left join payout_accounts p on p.address = k.address
    left join (select address, sum(units)::bigint as units from due group by address) d on d.address = k.address
    order by k.address`
}

type AddressRow = {
  readonly node: string
  readonly address: Address
  readonly next_address: Address | null
  readonly sequence: bigint
}

const addressOf = (row: AddressRow): PayoutAddress => ({
  node: row.node,
  address: row.address,
  nextAddress: row.next_address,
  sequence: Number(row.sequence),
})

export type EpochRow = {
  readonly number: bigint
  readonly fee_bps: number
  readonly opened_at: bigint
  readonly closed_at: bigint | null
  readonly root: Hex | null
  readonly total_units: bigint | null
  readonly paid_units: bigint | null
  readonly fee_nano_usd: bigint | null
}

const epochOf = (row: EpochRow): PayoutEpoch => ({
  number: Number(row.number),
  feeBps: row.fee_bps,
  openedAt: Number(row.opened_at),
  closed:
    row.closed_at === null || row.root === null
      ? null
      : {
          at: Number(row.closed_at),
          root: row.root,
          totalUnits: row.total_units ?? 0n,
          paidUnits: row.paid_units ?? 0n,
          feeNanoUsd: row.fee_nano_usd ?? 0n,
        },
})

type LeafRow = { readonly address: Address; readonly cumulative_units: bigint }

const leafOf = (row: LeafRow): PayoutLeaf => ({
  address: row.address,
  cumulativeUnits: row.cumulative_units,
})

type OwedRow = LeafRow & {
  readonly epoch: bigint
  readonly fee_bps: number
  readonly nodes: readonly string[] | null
}

const owedOf = (row: OwedRow): OwedNow => ({
  ...leafOf(row),
  epoch: Number(row.epoch),
  feeBps: row.fee_bps,
  nodes: row.nodes ?? [],
})
