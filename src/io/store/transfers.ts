/** Transfers one by one: deposits and corrections. Usage goes in batches, see settle.ts. */
import { formatUsd, type NanoUsd } from '../../core/base/money.ts'
import { refuse, type Refusal } from '../../core/base/refusal.ts'
import { only } from './accounts.ts'
import type { Database, Transaction } from './database.ts'
import { TEST_CREDIT, tenantLedger, type Balance, type Store, type Transfer } from './store.ts'

export const transfersIn = (
  database: Database,
): Pick<Store, 'transfer' | 'balance' | 'testCredit'> => ({
  transfer: async (transfer) => {
    const malformed = check(transfer)
    if (malformed) return malformed
    try {
      return await database.transaction((sql) => post(sql, transfer))
    } catch (error) {
      if (error instanceof NotPosted) return error.refusal
      throw error
    }
  },
  balance: (ledgerAccount) => database.run((sql) => balanceOf(sql, ledgerAccount)),
  testCredit: (account) =>
    database.run(async (sql) => {
      const [row] = await sql<{ given: NanoUsd }[]>`
        select coalesce(sum(nano_usd), 0)::bigint as given from transfers
        where debit = ${TEST_CREDIT} and credit = ${tenantLedger(account)} and kind <> 'usage'`
      return row?.given ?? 0n
    }),
})

/** Thrown inside the transaction, because returning would commit it. */
class NotPosted extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}

function check({ key, debit, credit, nanoUsd, kind }: Transfer): Refusal | null {
  if (nanoUsd <= 0n) return bad('nanoUsd', `A transfer moves more than nothing; got ${nanoUsd}.`)
  if (debit === credit) return bad('credit', `A transfer from ${debit} to itself moves nothing.`)
  if (key.startsWith('att_'))
    return bad('key', `The key '${key}' belongs to an attempt; take another.`)
  const isUsage = debit.startsWith('tenant:') && credit.startsWith('node:')
  if (kind === 'usage' && !isUsage)
    return bad('kind', `Usage is paid by a tenant to a node, not by ${debit} to ${credit}.`)
  return null
}

const bad = (param: string, message: string): Refusal => refuse('invalid_value', message, { param })

async function post(sql: Transaction, transfer: Transfer): Promise<'posted' | 'duplicate'> {
  const { key, debit, credit, nanoUsd, kind, reference } = transfer
  const fresh = await sql`
    insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
    values (${key}, ${debit}, ${credit}, ${nanoUsd}, ${kind}, ${reference}, ${Date.now()})
    on conflict (key) do nothing returning key`
  if (fresh.length === 0) return await compare(sql, transfer)
  const changes = [
    { account: debit, nanoUsd: -nanoUsd },
    { account: credit, nanoUsd },
  ].toSorted((a, b) => (lockRank(a.account) < lockRank(b.account) ? -1 : 1))
  for (const change of changes) await changeBalance(sql, change.account, change.nanoUsd)
  return 'posted'
}

/** Tenants before nodes, each by id: the order in which every statement of ours takes these locks. */
const lockRank = (account: string): string =>
  account.startsWith('tenant:') ? `0${account}` : `1${account}`

/** The key was used before: the same transfer again is fine, another one is not. */
async function compare(sql: Transaction, wanted: Transfer): Promise<'duplicate'> {
  const found = only(
    await sql<Transfer[]>`
      select key, debit, credit, nano_usd as "nanoUsd", kind, reference from transfers where key = ${wanted.key}`,
  )
  const different = (['debit', 'credit', 'nanoUsd', 'kind', 'reference'] as const).filter(
    (field) => found[field] !== wanted[field],
  )
  if (different.length === 0) return 'duplicate'
  throw new NotPosted(
    refuse(
      'idempotency_conflict',
      `The transfer '${wanted.key}' was posted before with another ${different.join(', ')}; nothing moved. Use a new key for a new transfer.`,
      { details: { key: wanted.key, posted: found.nanoUsd, asked: wanted.nanoUsd } },
    ),
  )
}

/** The network's own accounts have no row to change: their balance is the sum of their transfers. */
async function changeBalance(sql: Transaction, account: string, change: NanoUsd): Promise<void> {
  const [kind, id] = splitLedgerAccount(account)
  if (kind === 'tenant') {
    const [row] = await sql<Balances[]>`
      select balance_nano_usd, held_nano_usd from tenant_balances where account = ${id} for update`
    if (!row) throw new NotPosted(refuse('not_found', `There is no account '${id}'.`))
    covers(account, row.balance_nano_usd - row.held_nano_usd, change)
    await sql`
      update tenant_balances set balance_nano_usd = balance_nano_usd + ${change} where account = ${id}`
  } else if (kind === 'node') {
    const rows = await sql<Balances[]>`
      select balance_nano_usd, 0::bigint as held_nano_usd from node_balances where node = ${id} for update`
    covers(account, rows[0]?.balance_nano_usd ?? 0n, change)
    await sql`
      insert into node_balances (node, balance_nano_usd) values (${id}, greatest(0, ${change}::bigint))
      on conflict (node) do update set balance_nano_usd = node_balances.balance_nano_usd + ${change}`
  }
}

type Balances = { readonly balance_nano_usd: NanoUsd; readonly held_nano_usd: NanoUsd }

function covers(account: string, available: NanoUsd, change: NanoUsd): void {
  if (available + change < 0n) throw new NotPosted(insufficient(account, available, -change))
}

export const insufficient = (account: string, have: NanoUsd, need: NanoUsd): Refusal =>
  refuse(
    'insufficient_balance',
    `${account} has $${formatUsd(have)} available and would need $${formatUsd(need)}. Add credit, or ask for less.`,
    { details: { have, need } },
  )

/** `tenant:acct_x` → ['tenant', 'acct_x']. */
function splitLedgerAccount(account: string): readonly [string, string] {
  const colon = account.indexOf(':')
  return [account.slice(0, colon), account.slice(colon + 1)]
}

async function balanceOf(
  sql: Parameters<Parameters<Database['run']>[0]>[0],
  account: string,
): Promise<Balance> {
  const [kind, id] = splitLedgerAccount(account)
  const rows = await (kind === 'tenant'
    ? sql<Balances[]>`
        select balance_nano_usd, held_nano_usd from tenant_balances where account = ${id}`
    : kind === 'node'
      ? sql<Balances[]>`
          select balance_nano_usd, 0::bigint as held_nano_usd from node_balances where node = ${id}`
      : sql<Balances[]>`
          select coalesce(sum(change), 0)::bigint as balance_nano_usd, 0::bigint as held_nano_usd from (
            select nano_usd as change from transfers where credit = ${account} and kind <> 'usage'
            union all select -nano_usd from transfers where debit = ${account} and kind <> 'usage'
          ) moved`)
  return {
    balanceNanoUsd: rows[0]?.balance_nano_usd ?? 0n,
    heldNanoUsd: rows[0]?.held_nano_usd ?? 0n,
  }
}
