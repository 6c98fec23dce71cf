/** What is remembered of nodes over the years: first and last seen, how long they were linked, their tier. */
import type { Tier } from '../../core/protocol/tier.ts'
import { only } from './accounts.ts'
import type { Database } from './database.ts'
import type { NodeRecord, Store } from './store.ts'

type NodeRow = {
  readonly node: string
  readonly node_key: string
  readonly tier: Tier
  readonly first_seen_at: bigint
  readonly last_seen_at: bigint
  readonly linked_seconds: bigint
}

export const nodesIn = (database: Database): Pick<Store, 'nodeSeen' | 'nodes' | 'setTier'> => ({
  async nodeSeen(node, nodeKey, now, linkedSeconds) {
    const rows = await database.run(
      (sql) => sql<NodeRow[]>`
        insert into nodes (node, node_key, tier, first_seen_at, last_seen_at, linked_seconds)
        values (${node}, ${nodeKey}, 'community', ${now}, ${now}, ${Math.round(linkedSeconds)})
        on conflict (node) do update set last_seen_at = greatest(nodes.last_seen_at, excluded.last_seen_at),
          linked_seconds = nodes.linked_seconds + excluded.linked_seconds
        returning *`,
    )
    return only(rows.map(nodeOf))
  },

  async nodes() {
    const rows = await database.run((sql) => sql<NodeRow[]>`select * from nodes order by node`)
    return rows.map(nodeOf)
  },

  async setTier(node, tier) {
    const rows = await database.run(
      (sql) => sql<NodeRow[]>`update nodes set tier = ${tier} where node = ${node} returning *`,
    )
    return rows.map(nodeOf)[0] ?? null
  },
})

const nodeOf = (row: NodeRow): NodeRecord => ({
  node: row.node,
  nodeKey: row.node_key,
  tier: row.tier,
  firstSeenAt: Number(row.first_seen_at),
  lastSeenAt: Number(row.last_seen_at),
  linkedSeconds: Number(row.linked_seconds),
})
