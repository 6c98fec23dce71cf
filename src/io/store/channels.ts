/** Channels: bound to accounts once, read back as a whole. Vouchers, credit and claims have files of their own. */
import { only } from './accounts.ts'
import { writeClaim, writeRefund } from './channel-claims.ts'
import { leaveChannel, reconcileChannels } from './channel-credit.ts'
import type { ChannelStore } from './channel-records.ts'
import { channelOf, type ChannelRow } from './channel-rows.ts'
import { creditVouchers } from './channel-vouchers.ts'
import type { Database } from './database.ts'

export const channelsIn = (database: Database): ChannelStore => ({
  async bindChannel({ chainId, contract }, { id, account, config, final }) {
    const rows = await database.run(
      (sql) => sql<ChannelRow[]>`
        insert into channels (
          id, account, chain_id, contract, payer, payer_authorizer, receiver, receiver_authorizer, token,
          withdraw_delay, salt, state, final_block, balance_units, claimed_units, created_at
        ) values (
          ${id}, ${account}, ${chainId}, ${contract}, ${config.payer}, ${config.payerAuthorizer},
          ${config.receiver}, ${config.receiverAuthorizer}, ${config.token}, ${config.withdrawDelay},
          ${config.salt}, 'open', ${final.block}, ${final.balanceUnits}, ${final.claimedUnits}, ${Date.now()}
        )
        on conflict (id) do update set id = excluded.id returning *`,
    )
    return channelOf(only(rows))
  },

  async channelsAt({ chainId, contract }) {
    const rows = await database.run(
      (sql) => sql<ChannelRow[]>`
        select * from channels where chain_id = ${chainId} and contract = ${contract} order by ordinal`,
    )
    return rows.map(channelOf)
  },

  async channelRecords(ids) {
    const rows = await database.run(
      (sql) => sql<ChannelRow[]>`
        select * from channels where id = any(${[...ids]}::text[]) order by ordinal`,
    )
    return rows.map(channelOf)
  },

  creditVouchers: (vouchers) => creditVouchers(database, vouchers),
  reconcileChannels: (place, account, sightings, again = false) =>
    reconcileChannels(database, place, account, sightings, again),
  leaveChannel: (place, account, id) => leaveChannel(database, place, account, id),
  writeClaim: (ids, actions) => writeClaim(database, ids, actions),

  async claimMissed(id, purpose) {
    await database.run(
      (sql) => sql`
        update channels set claim_units = claimed_units, claim_purpose = null, claim_failures = claim_failures + 1
        where id = ${id} and claim_purpose = ${purpose}`,
    )
  },

  writeRefund: (id, actions) => writeRefund(database, id, actions),

  async closeChannel(id, refundPurpose) {
    await database.run(
      (sql) => sql`
        update channels set refund_purpose = null,
          leaving = case when leaving = 'consent' then null else leaving end,
          state = case when leaving <> 'consent' then state
            when balance_units <= claimed_units then 'closed' else 'open' end
        where id = ${id} and refund_purpose = ${refundPurpose}`,
    )
  },
})
