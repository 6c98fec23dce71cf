/** Closes a payout epoch and kills itself at a statement: an even step before it is sent, an odd one once it is answered. */
import { openDatabase, type Database, type Transaction } from '../../src/io/store/database.ts'
import { closePayoutEpoch } from '../../src/io/store/payout-closing.ts'
import { testClosing } from '../../src/io/store/payout-kit.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'

const { url, epoch, step }: { url: string; epoch: number; step: number } = JSON.parse(
  process.argv[2] ?? '{}',
)
let steps = 0
const atStep = (): void => {
  if (steps++ === step) process.kill(process.pid, 'SIGKILL')
}

const database = openDatabase({ url, logger: silentLogger, connections: 1 })
const mortal: Database = {
  ...database,
  async transaction(work, deadlineMs) {
    const result = await database.transaction(async (sql) => {
      const value = await work(watched(sql))
      atStep()
      return value
    }, deadlineMs)
    atStep()
    return result
  },
}
await closePayoutEpoch(mortal, testClosing(epoch))
await database.close()

/** Fragments are made by the same function as statements: only what is awaited is one. */
function watched(sql: Transaction): Transaction {
  return new Proxy(sql, {
    apply(target, self, args) {
      const query = Reflect.apply(target as never, self, args) as PromiseLike<unknown>
      return new Proxy(query, {
        get(of, key) {
          if (key !== 'then') return Reflect.get(of, key, of)
          return (done: (value: unknown) => unknown, failed: (error: unknown) => unknown) => {
            atStep()
            return of.then((value) => {
              atStep()
              return done(value)
            }, failed)
          }
        },
      })
    },
  })
}
