/**
 * Claims and refunds: what the operator asks the contract for. Each is written together with the action that carries it, so a
 * crash leaves both or neither; a channel says what its last claim asked for, so no two gateways claim the same.
 */
import type { Hex } from '../../core/base/hex.ts'
import { claimableUnits, unspentUnits } from '../../core/ledger/channel.ts'
import { only } from './accounts.ts'
import type { ChannelActions, ChannelRecord } from './channel-records.ts'
import { channelOf, type ChannelRow } from './channel-rows.ts'
import type { Database, Transaction } from './database.ts'

/** About 100 KB of data, and 4 million gas of the 16.7 million that a transaction may take. */
export const MAX_CLAIM_ROWS = 200

/** See `ChannelStore.writeClaim`. */
export const writeClaim = (
  database: Database,
  ids: readonly Hex[],
  actions: ChannelActions,
): Promise<ChannelRecord[]> =>
  database.transaction((sql) => claim(sql, ids.slice(0, MAX_CLAIM_ROWS), actions))

async function claim(
  sql: Transaction,
  ids: readonly Hex[],
  actions: ChannelActions,
): Promise<ChannelRecord[]> {
  const rows = await sql<ChannelRow[]>`
    select * from channels where id = any(${[...ids]}::text[]) order by id for update skip locked`
  const due = rows.map(channelOf).filter(hasMore)
  if (due.length === 0) return []
  const { number } = only(
    await sql<{ number: bigint }[]>`select nextval('channel_claims')::bigint as number`,
  )
  const purpose = `claim:${number}`
  const claims = due.map((channel) => ({
    ...channel,
    claimUnits: claimableUnits(channel),
    claimPurpose: purpose,
  }))
  await sql`
    update channels c set claim_units = t.units, claim_purpose = ${purpose}
    from unnest(
      ${claims.map(({ id }) => id)}::text[], ${claims.map(({ claimUnits }) => String(claimUnits))}::text[]::bigint[]
    ) as t (id, units) where c.id = t.id`
  await actions.claim(sql, purpose, claims)
  return claims
}

const hasMore = (channel: ChannelRecord): boolean => {
  const units = claimableUnits(channel)
  return units > channel.claimUnits && units > channel.claimedUnits
}

/** See `ChannelStore.writeRefund`. */
export const writeRefund = (
  database: Database,
  id: Hex,
  actions: ChannelActions,
): Promise<boolean> =>
  database.transaction(async (sql) => {
    const [row] = await sql<ChannelRow[]>`select * from channels where id = ${id} for update`
    if (!row || row.leaving !== 'consent' || row.refund_purpose !== null) return false
    const channel = channelOf(row)
    if (unspentUnits(channel) > 0n) return false
    await claim(sql, [id], actions)
    const purpose = `refund:${id}:${row.refunds + 1n}`
    const units = channel.balanceUnits - claimableUnits(channel)
    await sql`
      update channels set refunds = refunds + 1, refund_purpose = ${purpose} where id = ${id}`
    if (units > 0n) await actions.refund(sql, purpose, channel, units)
    return true
  })
