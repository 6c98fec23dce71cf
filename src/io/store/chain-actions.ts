/** The outbox of everything this network does on a chain: written with its cause in one transaction, sent later, done once. */
import type { Address, Hex } from 'viem'
import { Fault } from '../../core/base/refusal.ts'
import type {
  ActionInFlight,
  ActionState,
  ChainAction,
  ChainActionStore,
  NewAction,
  SignedTransaction,
} from './chain-records.ts'
import type { Database, Transaction } from './database.ts'

/** Nodes of Ethereum pass on no transaction above 128 KiB: https://github.com/ethereum/go-ethereum/blob/master/core/txpool/legacypool/legacypool.go */
export const MAX_DATA_BYTES = 120 * 1024
const MAX_NAME = 200
const MAX_PROBLEM = 1000

/**
 * Writes an action down in the caller's transaction: it is sent when that commits, and never when it does not. The same
 * purpose again is fine; with another target or other data it is a Fault `idempotency_conflict`.
 */
export async function writeAction(
  sql: Transaction,
  action: NewAction,
): Promise<'written' | 'duplicate'> {
  check(action)
  const { purpose, kind, details } = action
  const [target, data] = [action.target.toLowerCase(), action.data.toLowerCase()]
  const fresh = await sql`
    insert into chain_actions (purpose, kind, target, data, details, written_at)
    values (${purpose}, ${kind}, ${target}, ${data}, ${jsonOf(details)}::text::jsonb, ${Date.now()})
    on conflict (purpose) do nothing returning purpose`
  if (fresh.length > 0) return 'written'
  const [there] = await sql<{ same: boolean }[]>`
    select target = ${target} and data = ${data} as same from chain_actions where purpose = ${purpose}`
  if (there?.same) return 'duplicate'
  throw new Fault(
    'idempotency_conflict',
    `The chain action '${purpose}' was written before with another target or other data. One purpose is one action: take another.`,
  )
}

function check({ purpose, kind, target, data }: NewAction): void {
  const wrong = (what: string): Fault =>
    new Fault('action_invalid', `The chain action '${purpose.slice(0, MAX_NAME)}' ${what}.`)
  if (purpose.length === 0 || purpose.length > MAX_NAME)
    throw wrong(`needs a purpose of 1 to ${MAX_NAME} characters`)
  if (kind.length === 0 || kind.length > MAX_NAME)
    throw wrong(`needs a kind of 1 to ${MAX_NAME} characters`)
  if (!/^0x[0-9a-f]{40}$/i.test(target)) throw wrong(`has no address as target: ${target}`)
  if (!/^0x(?:[0-9a-f]{2})*$/i.test(data)) throw wrong('has data that is not hex')
  if (data.length / 2 - 1 > MAX_DATA_BYTES)
    throw wrong(`has more than ${MAX_DATA_BYTES} bytes of data; split it`)
}

const jsonOf = (details: unknown): string | null =>
  details === undefined
    ? null
    : JSON.stringify(details, (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      )

export const chainActionsIn = (database: Database): ChainActionStore => ({
  writeChainAction: (action) => database.transaction((sql) => writeAction(sql, action)),

  async chainActions({ kind = null, state = null, limit }) {
    const rows = await database.run(
      (sql) => sql<ActionRow[]>`
        select * from chain_actions
        where (${kind}::text is null or kind = ${kind}) and (${state}::text is null or state = ${state})
        order by seq limit ${limit}`,
    )
    return rows.map(actionOf)
  },

  async chainAction(purpose) {
    const [row] = await database.run(
      (sql) => sql<ActionRow[]>`select * from chain_actions where purpose = ${purpose}`,
    )
    return row ? actionOf(row) : null
  },

  async openChainActions() {
    const rows = await database.run(
      (sql) => sql<{ state: ActionState; count: bigint }[]>`
        select state, count(*) as count from chain_actions
        where state in ('written', 'signed', 'mined') group by state`,
    )
    const of = (state: ActionState): number =>
      Number(rows.find((row) => row.state === state)?.count ?? 0n)
    return { written: of('written'), signed: of('signed'), mined: of('mined') }
  },

  async holdSender(sender, gateway, forMs) {
    const held = await database.run(
      (sql) => sql`
        insert into chain_senders (sender, gateway, until)
        values (${lower(sender)}, ${gateway}, clock_timestamp() + ${forMs} * interval '1 millisecond')
        on conflict (sender) do update set gateway = excluded.gateway, until = excluded.until
          where chain_senders.gateway = excluded.gateway or chain_senders.until < clock_timestamp()
        returning sender`,
    )
    return held.length > 0
  },

  async releaseSender(sender, gateway) {
    await database.run(
      (sql) =>
        sql`delete from chain_senders where sender = ${lower(sender)} and gateway = ${gateway}`,
    )
  },

  async actionsToSend(now, limit) {
    const rows = await database.run(
      (sql) => sql<ActionRow[]>`
        select * from chain_actions where state = 'written' and retry_at <= ${now} order by seq limit ${limit}`,
    )
    return rows.map(actionOf)
  },

  async deferAction(purpose, problem, retryAt) {
    await database.run(
      (sql) => sql`
        update chain_actions set problem = ${problem.slice(0, MAX_PROBLEM)}, retry_at = ${retryAt}, tries = tries + 1
        where purpose = ${purpose} and state = 'written'`,
    )
  },

  signAction: ({ purpose, gateway, from, gas, sinceBlock, ...of }, sign) => {
    const sender = lower(of.sender)
    return database.transaction(async (sql) => {
      // The sender's row is locked until the end: whoever else gives a nonce waits, and then sees this one.
      if (!(await maySend(sql, sender, gateway))) return false
      const [there] = await sql`
        select purpose from chain_actions where purpose = ${purpose} and state = 'written' for update`
      if (!there) return false
      const nonce = await freeNonce(sql, sender, from)
      const transaction = await sign(nonce)
      await sql`
        update chain_actions set state = 'signed', sender = ${sender}, nonce = ${nonce}, gas = ${gas},
          since_block = ${sinceBlock}, problem = null where purpose = ${purpose}`
      await insertTransaction(sql, { purpose, sender, nonce }, transaction)
      return true
    })
  },

  addTransaction: ({ purpose, gateway, nonce, ...of }, transaction) => {
    const sender = lower(of.sender)
    return database.transaction(async (sql) => {
      if (!(await maySend(sql, sender, gateway))) return false
      const [there] = await sql`
        select purpose from chain_actions
        where purpose = ${purpose} and state = 'signed' and sender = ${sender} and nonce = ${nonce} for update`
      if (!there) return false
      await insertTransaction(sql, { purpose, sender, nonce }, transaction)
      return true
    })
  },

  async actionsInFlight(sender) {
    const rows = await database.run(
      (sql) => sql<(ActionRow & TransactionRow)[]>`
        select a.*, t.hash as signed_hash, t.raw, t.max_fee::text, t.max_priority_fee::text, t.signed_at
        from chain_actions a join chain_transactions t on t.purpose = a.purpose and t.sender = a.sender and t.nonce = a.nonce
        where a.sender = ${lower(sender)} and a.state in ('signed', 'mined') order by a.nonce, t.max_fee`,
    )
    const flights = new Map<string, ActionInFlight>()
    for (const row of rows) {
      const before = flights.get(row.purpose)?.transactions ?? []
      flights.set(row.purpose, {
        ...actionOf(row),
        nonce: Number(row.nonce),
        gas: row.gas ?? 0n,
        sinceBlock: row.since_block ?? 0n,
        transactions: [...before, transactionOf(row)],
      })
    }
    return [...flights.values()]
  },

  async noteMined(purpose, { hash, blockNumber, blockHash, reverted }) {
    await database.run(
      (sql) => sql`
        update chain_actions set state = 'mined', hash = ${hash}, block_number = ${blockNumber},
          block_hash = ${blockHash}, reverted = ${reverted}
        where purpose = ${purpose} and state in ('signed', 'mined')`,
    )
  },

  async noteUnmined(purpose, blockHash) {
    await database.run(
      (sql) => sql`
        update chain_actions set state = 'signed', hash = null, block_number = null, block_hash = null, reverted = false
        where purpose = ${purpose} and state = 'mined' and block_hash = ${blockHash}`,
    )
  },

  async noteSettled(purpose, blockHash, problem, now) {
    const [row] = await database.run(
      (sql) => sql<ActionRow[]>`
        update chain_actions set state = case when reverted then 'failed' else 'final' end,
          problem = case when reverted then ${problem?.slice(0, MAX_PROBLEM) ?? null}::text end, settled_at = ${now}
        where purpose = ${purpose} and state = 'mined' and block_hash = ${blockHash} returning *`,
    )
    return row ? actionOf(row) : null
  },

  async loseNonce(purpose, nonce, problem) {
    await database.run(
      (sql) => sql`
        update chain_actions set state = 'written', sender = null, nonce = null, gas = null, since_block = null,
          problem = ${problem.slice(0, MAX_PROBLEM)}, retry_at = 0
        where purpose = ${purpose} and state = 'signed' and nonce = ${nonce}`,
    )
  },

  async reopenActions(sender, above) {
    const reopened = await database.run(
      (sql) => sql`
        update chain_actions set state = 'signed', hash = null, block_number = null, block_hash = null, reverted = false,
          problem = null, settled_at = null
        where sender = ${lower(sender)} and state in ('final', 'failed') and block_number > ${above} returning purpose`,
    )
    return reopened.length
  },
})

async function maySend(sql: Transaction, sender: string, gateway: string): Promise<boolean> {
  const held = await sql`
    select sender from chain_senders
    where sender = ${sender} and gateway = ${gateway} and until > clock_timestamp() for update`
  return held.length > 0
}

/** Nonces below `from` are used on the chain; of the rest those of our own actions are taken, whoever sends them. */
async function freeNonce(sql: Transaction, sender: string, from: number): Promise<number> {
  const rows = await sql<{ nonce: bigint }[]>`
    select nonce from chain_actions where sender = ${sender} and nonce >= ${from} order by nonce`
  const taken = new Set(rows.map(({ nonce }) => Number(nonce)))
  let nonce = from
  while (taken.has(nonce)) nonce += 1
  return nonce
}

async function insertTransaction(
  sql: Transaction,
  of: { purpose: string; sender: string; nonce: number },
  { hash, raw, maxFeePerGas, maxPriorityFeePerGas }: SignedTransaction,
): Promise<void> {
  await sql`
    insert into chain_transactions (hash, purpose, sender, nonce, raw, max_fee, max_priority_fee, signed_at)
    values (${hash}, ${of.purpose}, ${of.sender}, ${of.nonce}, ${raw}, ${String(maxFeePerGas)}::text::numeric,
      ${String(maxPriorityFeePerGas)}::text::numeric, ${Date.now()})
    on conflict (hash) do nothing`
}

const lower = (address: Address): string => address.toLowerCase()

type ActionRow = {
  readonly purpose: string
  readonly seq: bigint
  readonly kind: string
  readonly target: Address
  readonly data: Hex
  readonly details: unknown
  readonly state: ActionState
  readonly nonce: bigint | null
  readonly gas: bigint | null
  readonly since_block: bigint | null
  readonly hash: Hex | null
  readonly block_number: bigint | null
  readonly block_hash: Hex | null
  readonly reverted: boolean
  readonly problem: string | null
  readonly tries: number
  readonly written_at: bigint
  readonly settled_at: bigint | null
}

type TransactionRow = {
  readonly signed_hash: Hex
  readonly raw: Hex
  readonly max_fee: string
  readonly max_priority_fee: string
  readonly signed_at: bigint
}

const actionOf = (row: ActionRow): ChainAction => ({
  purpose: row.purpose,
  seq: row.seq,
  kind: row.kind,
  target: row.target,
  data: row.data,
  details: row.details,
  state: row.state,
  nonce: row.nonce === null ? null : Number(row.nonce),
  sinceBlock: row.since_block,
  mined:
    row.hash === null || row.block_number === null || row.block_hash === null
      ? null
      : {
          hash: row.hash,
          blockNumber: row.block_number,
          blockHash: row.block_hash,
          reverted: row.reverted,
        },
  problem: row.problem,
  tries: row.tries,
  writtenAt: Number(row.written_at),
  settledAt: row.settled_at === null ? null : Number(row.settled_at),
})

const transactionOf = (row: TransactionRow) => ({
  hash: row.signed_hash,
  raw: row.raw,
  maxFeePerGas: BigInt(row.max_fee),
  maxPriorityFeePerGas: BigInt(row.max_priority_fee),
  signedAt: Number(row.signed_at),
})
