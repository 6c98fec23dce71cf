/**
 * Paying for leased time. One transaction for a batch; for each lease, in the order in which locks are taken
 * everywhere (tenant, then hold, then node):
 *
 *   the lease's row says it is paid until `from`, for this epoch ──► until `until`; else nothing moves
 *   the tenant pays from the lease's hold, then from what is available; the rest is the operator's
 *   the hold is filled up again from what is available
 */
import type { NanoUsd } from '../../core/base/money.ts'
import { only } from './accounts.ts'
import type { Database, Transaction } from './database.ts'
import type { LeasePaid, LeasePayment } from './deployment-records.ts'
import { nodeLedger, tenantLedger, UNCOLLECTED } from './store.ts'

export const MAX_LEASE_PAYMENTS = 500
/** A hold whose gateway is gone stays so long: its lease may be looked after by another by then. */
const HOLD_MS = 24 * 60 * 60_000

/** See `DeploymentStore.payLeases`. */
export async function payLeases(
  database: Database,
  payments: readonly LeasePayment[],
): Promise<LeasePaid[]> {
  if (payments.length > MAX_LEASE_PAYMENTS)
    throw new RangeError(`${payments.length} payments, at most ${MAX_LEASE_PAYMENTS} in a batch`)
  if (payments.length === 0) return []
  return await database.transaction(async (sql) => {
    const ids = payments.map(({ lease }) => lease)
    await sql`
      select account from tenant_balances
      where account in (select account from leases where id = any(${ids}::text[])) order by account for update`
    const paid: LeasePaid[] = []
    // In the order in which settlements lock nodes, too.
    const byNode = [...payments.entries()].toSorted(([, a], [, b]) => (a.node < b.node ? -1 : 1))
    for (const [index, payment] of byNode) paid[index] = await pay(sql, payment)
    return paid
  })
}

type Purse = {
  readonly account: string
  readonly hold: string | null
  readonly held: NanoUsd | null
  readonly available: NanoUsd
}

async function pay(sql: Transaction, payment: LeasePayment): Promise<LeasePaid> {
  const { lease, epoch, from, until, nanoUsd, carryBefore, carry } = payment
  const moved = await sql`
    update leases set billed_until = ${until}, carry = ${carry}, spent_nano_usd = spent_nano_usd + ${nanoUsd}
    where id = ${lease} and epoch = ${epoch} and billed_until = ${from} and carry = ${carryBefore}
    returning id`
  if (moved.length === 0) return { paid: false, uncollectedNanoUsd: 0n, heldNanoUsd: 0n }
  const purse = only(
    await sql<Purse[]>`
      select l.account, h.id as hold, h.remaining_nano_usd as held,
        b.balance_nano_usd - b.held_nano_usd as available
      from leases l join tenant_balances b on b.account = l.account
      left join holds h on h.id = l.hold and h.state = 'pending'
      where l.id = ${lease}`,
  )
  const held = purse.held ?? 0n
  const fromHold = least(nanoUsd, held)
  const fromBalance = least(nanoUsd - fromHold, purse.available)
  const collected = fromHold + fromBalance
  await transfer(sql, payment, tenantLedger(purse.account), collected, 'lease')
  await transfer(sql, payment, UNCOLLECTED, nanoUsd - collected, 'uncollected lease')
  const filled =
    purse.hold === null ? 0n : fill(payment, held - fromHold, purse.available - fromBalance)
  await sql`
    update tenant_balances set balance_nano_usd = balance_nano_usd - ${collected},
      held_nano_usd = held_nano_usd - ${fromHold} + ${filled} where account = ${purse.account}`
  await sql`
    update holds set remaining_nano_usd = remaining_nano_usd - ${fromHold} + ${filled},
      nano_usd = nano_usd + ${filled}, expires_at = greatest(expires_at, ${Date.now() + HOLD_MS})
    where id = ${purse.hold}`
  await sql`
    insert into node_balances (node, balance_nano_usd) values (${payment.node}, ${nanoUsd})
    on conflict (node) do update set balance_nano_usd = node_balances.balance_nano_usd + ${nanoUsd}`
  const heldNanoUsd = held - fromHold + filled
  return { paid: true, uncollectedNanoUsd: nanoUsd - collected, heldNanoUsd }
}

function fill(payment: LeasePayment, held: NanoUsd, available: NanoUsd): NanoUsd {
  const lacking = payment.holdTargetNanoUsd - held
  return lacking > 0n ? least(lacking, available) : 0n
}

async function transfer(
  sql: Transaction,
  { lease, epoch, from, until, node }: LeasePayment,
  debit: string,
  nanoUsd: NanoUsd,
  what: string,
): Promise<void> {
  if (nanoUsd === 0n) return
  await sql`
    insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
    values (${`${what} ${lease} ${epoch} ${from}`}, ${debit}, ${nodeLedger(node)}, ${nanoUsd}, 'lease',
      ${`${lease} epoch ${epoch}: ${from} to ${until}`}, ${Date.now()})`
}

const least = (a: NanoUsd, b: NanoUsd): NanoUsd => (a < b ? a : b)
