/** The store over PostgreSQL: one file a noun, put together here. */
import type { Logger } from '../telemetry/logger.ts'
import { accountsIn } from './accounts.ts'
import { auditLedger } from './audit.ts'
import { channelsIn } from './channels.ts'
import { chainActionsIn } from './chain-actions.ts'
import { chainBlocksIn } from './chain-blocks.ts'
import { openDatabase } from './database.ts'
import { commandsIn } from './deployment-commands.ts'
import { deploymentsIn } from './deployments.ts'
import { gatewaysIn } from './gateways.ts'
import { holdsIn } from './holds.ts'
import { keysIn } from './keys.ts'
import { migrate } from './migrate.ts'
import { nodesIn } from './nodes.ts'
import { payoutsIn } from './payouts.ts'
import { receiptsIn } from './receipts.ts'
import { settle } from './settle.ts'
import { snapshotsIn } from './snapshots.ts'
import type { Store } from './store.ts'
import { transfersIn } from './transfers.ts'
import { usageIn } from './usage.ts'

export type PostgresStoreOptions = {
  /** `postgres://…`: the embedded server's URL or DATABASE_URL. */
  readonly url: string
  readonly logger: Logger
  /** Connections at most. Default 8: two batches in flight, and room for everything else. */
  readonly connections?: number
}

/** Connects, brings the schema up to date, and resolves when the store can be used. */
export async function createPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const { url, logger, connections = 8 } = options
  const database = openDatabase({ url, logger, connections })
  try {
    await migrate(database, logger)
  } catch (error) {
    await database.close()
    throw error
  }
  return {
    ...accountsIn(database),
    ...keysIn(database),
    ...transfersIn(database),
    ...holdsIn(database),
    settle: (batch) => settle(database, batch),
    audit: () => auditLedger(database),
    ...usageIn(database),
    ...receiptsIn(database),
    ...nodesIn(database),
    ...deploymentsIn(database),
    ...commandsIn(database),
    ...gatewaysIn(database),
    ...snapshotsIn(database),
    ...channelsIn(database),
    ...chainActionsIn(database),
    ...chainBlocksIn(database),
    ...payoutsIn(database),
    async ping() {
      await database.run((sql) => sql`select 1`, PING_DEADLINE_MS)
    },
    async clock() {
      const [row] = await database.run(
        (sql) => sql<{ ms: bigint }[]>`
          select (extract(epoch from clock_timestamp()) * 1000)::bigint as ms`,
        PING_DEADLINE_MS,
      )
      return Number(row?.ms)
    },
    close: () => database.close(),
  }
}

const PING_DEADLINE_MS = 3000
