/** Which chain this database is about, and the last blocks of it that were final. */
import type { Hex } from 'viem'
import { only } from './accounts.ts'
import type { ChainBlockStore } from './chain-records.ts'
import type { Database } from './database.ts'

export const chainBlocksIn = (database: Database): ChainBlockStore => ({
  async meetChain({ chainId, genesis }) {
    await database.run(
      (sql) => sql`
        insert into chain_identity (chain_id, genesis) values (${chainId}, ${genesis}) on conflict (one) do nothing`,
    )
    const noted = only(
      await database.run(
        (sql) => sql<{ chain_id: bigint; genesis: Hex }[]>`
          select chain_id, genesis from chain_identity`,
      ),
    )
    return { chainId: Number(noted.chain_id), genesis: noted.genesis }
  },

  async chainNoted() {
    const [noted] = await database.run(
      (sql) => sql<{ chain_id: bigint; genesis: Hex; facts: unknown }[]>`
        select chain_id, genesis, facts from chain_identity`,
    )
    return noted ? { ...noted, chainId: Number(noted.chain_id) } : null
  },

  async noteChainFacts(facts) {
    await database.run(
      (sql) => sql`update chain_identity set facts = ${JSON.stringify(facts)}::text::jsonb`,
    )
  },

  async finalBlocks(limit) {
    const rows = await database.run(
      (sql) => sql<{ number: bigint; hash: Hex }[]>`
        select number, hash from chain_blocks order by number desc limit ${limit}`,
    )
    return rows.map(({ number, hash }) => ({ number, hash }))
  },

  async addFinalBlocks(blocks, keep) {
    if (blocks.length === 0) return
    const numbers = blocks.map(({ number }) => String(number))
    const hashes = blocks.map(({ hash }) => hash)
    await database.transaction(async (sql) => {
      await sql`
        insert into chain_blocks (number, hash)
        select * from unnest(${numbers}::text[]::bigint[], ${hashes}::text[])
        on conflict (number) do update set hash = excluded.hash`
      await sql`
        delete from chain_blocks where number <= (select number from chain_blocks order by number desc offset ${keep} limit 1)`
    })
  },

  async dropFinalBlocks(above) {
    await database.run((sql) => sql`delete from chain_blocks where number > ${above}`)
  },
})
