/**
 * The connection to PostgreSQL: a pool that heals by itself, and every error sorted into "the database is away",
 * "it cannot do this now" (both retryable), "these values can never be stored" and "try again" (done here).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Fault } from '../../core/base/refusal.ts'
import type { Logger } from '../telemetry/logger.ts'

/** bigint columns are bigints in JavaScript, everywhere. */
export type Sql = postgres.Sql<{ bigint: bigint }>
export type Transaction = postgres.TransactionSql<{ bigint: bigint }>

export type Database = {
  /** Runs statements that are each their own transaction. May run `work` again: it must be safe to repeat. */
  run<T>(work: (sql: Sql) => PromiseLike<T>, deadlineMs?: number): Promise<T>
  /** Runs all of `work` in one transaction, from the beginning again when the database asks for that. */
  transaction<T>(work: (sql: Transaction) => Promise<T>, deadlineMs?: number): Promise<T>
  close(): Promise<void>
}

const CONNECT_TIMEOUT_S = 3
/** The server gives up on a statement first, so that its answer and not our impatience decides. */
const STATEMENT_TIMEOUT_MS = 10_000
const DEADLINE_MS = 12_000
const MAX_TRIES = 8
const CLOSE_TIMEOUT_S = 5

export function openDatabase(options: {
  url: string
  logger: Logger
  connections: number
}): Database {
  const { url, logger, connections } = options
  const open = (): Sql =>
    postgres(url, {
      max: connections,
      types: { bigint: postgres.BigInt },
      connect_timeout: CONNECT_TIMEOUT_S,
      // Callers decide how often to try; a query must not wait for a timer it knows nothing about.
      backoff: () => 0,
      onnotice: () => {},
      connection: { application_name: 'baseload', statement_timeout: STATEMENT_TIMEOUT_MS },
    })
  let sql = open()

  /** A server that accepts and then says nothing would fill the pool for ever: begin with a new one. */
  const replacePool = (stuck: Sql): void => {
    if (stuck !== sql) return
    sql = open()
    logger.warn('the database does not answer; connecting anew')
    stuck.end({ timeout: 0 }).catch(() => {})
  }

  const attempt = async <T>(work: (sql: Sql) => PromiseLike<T>, deadlineMs: number): Promise<T> => {
    for (let tries = 1; ; tries++) {
      const used = sql
      try {
        return await withDeadline(work(used), deadlineMs, () => replacePool(used))
      } catch (error) {
        if (tries === MAX_TRIES || !wantsRetry(error)) throw faultOf(error)
        await sleep(Math.random() * 10 * 2 ** tries)
      }
    }
  }

  return {
    run: (work, deadlineMs = DEADLINE_MS) => attempt(work, deadlineMs),
    transaction: (work, deadlineMs = DEADLINE_MS) =>
      attempt(async (pool) => {
        let result: { value: Awaited<ReturnType<typeof work>> } | null = null
        await pool.begin(async (transaction) => {
          result = { value: await unlessGone(work(transaction)) }
        })
        return resultOf(result)
      }, deadlineMs),
    close: () => sql.end({ timeout: CLOSE_TIMEOUT_S }),
  }
}

/**
 * A connection that is gone rejects the whole transaction by itself. Telling postgres.js of it here, too, would have it
 * write a ROLLBACK to a socket that is no more, outside of any promise: https://github.com/porsager/postgres/issues/1208
 */
async function unlessGone<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (isGone(error)) return await new Promise<never>(() => {})
    throw error
  }
}

const isGone = (error: unknown): boolean =>
  error instanceof Error &&
  !(error instanceof postgres.PostgresError) &&
  'code' in error &&
  /^(CONNECTION_|ECONN|EPIPE)/.test(String(error.code))

/** postgres.js types what `begin` returns as an unwrapped array, which no generic result fits. */
function resultOf<T>(result: { value: T } | null): T {
  if (result === null) throw new Error('a transaction ended without a result')
  return result.value
}

async function withDeadline<T>(
  work: PromiseLike<T>,
  deadlineMs: number,
  onLate: () => void,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(unavailable(`no answer within ${deadlineMs} ms`))
      onLate()
    }, deadlineMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Serialization failure and deadlock: the database undid everything and says to begin again. */
const wantsRetry = (error: unknown): boolean =>
  error instanceof postgres.PostgresError && (error.code === '40001' || error.code === '40P01')

/**
 * SQLSTATE classes in which the database is away or not fit for work, not the statement wrong: 08 connection,
 * 53 resources (disk, memory, connections), 57 shutdown, start-up or time limit, 58 input/output, 25006 read-only.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const AWAY = /^(08|53|57|58|25006|40)/

/** 22 data exception, 23 constraint violation. */
const REJECTED = /^2[23]/

function faultOf(error: unknown): unknown {
  if (error instanceof Fault) return error
  if (error instanceof postgres.PostgresError) {
    if (AWAY.test(error.code)) return unavailable(error.message, error)
    return REJECTED.test(error.code)
      ? new Fault('store_rejected', `The database refused the values: ${error.message}`, {
          cause: error,
        })
      : new Fault('store_failed', `The database failed: ${error.message}`, {
          cause: error,
          retryable: true,
        })
  }
  // What is no PostgresError but has a code comes from the socket or from the pool.
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? unavailable(error.message || error.code, error)
    : error
}

const unavailable = (why: string, cause?: unknown): Fault =>
  new Fault(
    'store_unavailable',
    `The database cannot be used now (${why}). It is tried again by itself.`,
    { cause, retryable: true },
  )
