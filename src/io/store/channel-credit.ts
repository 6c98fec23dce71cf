/**
 * Credit follows the chain: what was seen of an account's channels is taken over, what is spent is counted, and credit moves to
 * where it then belongs. What to move is decided in core/ledger/channel.ts; here it is one transaction that holds the tenant's
 * balance and then its channels, so any number of gateways may do it at any time, and doing it twice changes nothing.
 */
import type { Hex } from '../../core/base/hex.ts'
import {
  balance,
  countSpent,
  learn,
  leaveByConsent,
  NANO_PER_UNIT,
  noteExit,
  type Movement,
} from '../../core/ledger/channel.ts'
import type { NanoUsd } from '../../core/base/money.ts'
import {
  VOUCHERS,
  type ChannelPlace,
  type ChannelRecord,
  type ChannelSighting,
} from './channel-records.ts'
import { channelOf, type ChannelRow } from './channel-rows.ts'
import type { Database, Transaction } from './database.ts'
import { tenantLedger, UNCOLLECTED } from './store.ts'

/** See `ChannelStore.reconcileChannels`. */
export const reconcileChannels = (
  database: Database,
  place: ChannelPlace,
  account: string,
  sightings: readonly ChannelSighting[],
  again: boolean,
): Promise<ChannelRecord[]> =>
  database.transaction((sql) =>
    reconcile(sql, place, account, (channel) => {
      const seen = sightings.find(({ id }) => id === channel.id)
      return seen ? see(channel, seen, again) : channel
    }),
  )

/** See `ChannelStore.leaveChannel`. */
export const leaveChannel = (
  database: Database,
  place: ChannelPlace,
  account: string,
  id: Hex,
): Promise<ChannelRecord[]> =>
  database.transaction((sql) =>
    reconcile(sql, place, account, (channel) =>
      channel.id === id ? leaveByConsent(channel) : channel,
    ),
  )

function see(channel: Kept, { final, exitAt }: ChannelSighting, again: boolean): Kept {
  const newer = final !== null && (again || final.block >= channel.finalBlock)
  const seen = newer ? { ...learn(channel, final), finalBlock: final.block } : channel
  const claimFailures = seen.balanceUnits === channel.balanceUnits ? seen.claimFailures : 0
  return { ...noteExit(seen, exitAt !== null), exitAt, claimFailures }
}

type Kept = ChannelRecord & { readonly returns: bigint }

async function reconcile(
  sql: Transaction,
  { chainId, contract }: ChannelPlace,
  account: string,
  take: (channel: Kept) => Kept,
): Promise<ChannelRecord[]> {
  const [tenant] = await sql<{ balance_nano_usd: NanoUsd; held_nano_usd: NanoUsd }[]>`
    select balance_nano_usd, held_nano_usd from tenant_balances where account = ${account} for update`
  if (!tenant) throw new Error(`channels of the account ${account}, which does not exist`)
  const rows = await sql<ChannelRow[]>`
    select * from channels where account = ${account} and chain_id = ${chainId} and contract = ${contract}
    order by id for update`
  const before = rows
    .toSorted((a, b) => (a.ordinal < b.ordinal ? -1 : 1))
    .map((row) => ({ ...channelOf(row), returns: row.returns }))
  const counted = countSpent(before.map(take), tenant.balance_nano_usd)
  let available = (tenant.balance_nano_usd - tenant.held_nano_usd) / NANO_PER_UNIT
  let change = 0n
  const after: ChannelRecord[] = []
  for (const [index, channel] of counted.entries()) {
    const { channel: settled, movement } = balance(channel, available)
    available += movement.granted - movement.returned
    change += movement.granted - movement.returned
    await post(sql, settled, movement)
    if (differs(before[index]!, settled)) await keep(sql, settled, movement)
    after.push(settled)
  }
  if (change !== 0n)
    await sql`
      update tenant_balances set balance_nano_usd = balance_nano_usd + ${change * NANO_PER_UNIT}
      where account = ${account}`
  return after
}

const differs = (a: Kept, b: Kept): boolean =>
  a.state !== b.state ||
  a.leaving !== b.leaving ||
  a.exitAt !== b.exitAt ||
  a.finalBlock !== b.finalBlock ||
  a.balanceUnits !== b.balanceUnits ||
  a.claimedUnits !== b.claimedUnits ||
  a.allowedUnits !== b.allowedUnits ||
  a.creditedUnits !== b.creditedUnits ||
  a.uncollectedUnits !== b.uncollectedUnits ||
  a.chargedUnits !== b.chargedUnits

const wentBack = ({ returned, covered }: Movement): boolean => returned + covered > 0n

async function keep(sql: Transaction, channel: Kept, movement: Movement): Promise<void> {
  await sql`
    update channels set state = ${channel.state}, leaving = ${channel.leaving}, exit_at = ${channel.exitAt},
      final_block = ${channel.finalBlock}, balance_units = ${channel.balanceUnits},
      claimed_units = ${channel.claimedUnits}, allowed_units = ${channel.allowedUnits},
      credited_units = ${channel.creditedUnits}, uncollected_units = ${channel.uncollectedUnits},
      charged_units = ${channel.chargedUnits}, claim_failures = ${channel.claimFailures},
      returns = returns + ${wentBack(movement) ? 1 : 0}
    where id = ${channel.id}`
}

/** Numbered by how often credit went back: between two of those it only grows, so a ceiling tells it. */
async function post(sql: Transaction, channel: Kept, movement: Movement): Promise<void> {
  const { id, account, creditedUnits, returns } = channel
  const { granted, repaid, returned, covered } = movement
  const tenant = tenantLedger(account)
  const up = `voucher:${id}:${creditedUnits}`
  const down = `voucher-back:${id}:${returns + 1n}`
  await transfer(sql, returns > 0n ? `${up}/${returns}` : up, VOUCHERS, tenant, granted, id)
  await transfer(sql, `${up}/${returns}/uncollected`, VOUCHERS, UNCOLLECTED, repaid, id)
  await transfer(sql, down, tenant, VOUCHERS, returned, id)
  await transfer(sql, `${down}/uncollected`, UNCOLLECTED, VOUCHERS, covered, id)
}

async function transfer(
  sql: Transaction,
  key: string,
  debit: string,
  credit: string,
  units: bigint,
  id: Hex,
): Promise<void> {
  if (units === 0n) return
  await sql`
    insert into transfers (key, debit, credit, nano_usd, kind, reference, created_at)
    values (${key}, ${debit}, ${credit}, ${units * NANO_PER_UNIT}, 'voucher', ${id}, ${Date.now()})`
}
