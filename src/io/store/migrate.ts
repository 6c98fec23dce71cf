/**
 * Brings the schema up to date: the numbered .sql files beside this one, each once, in order. Two gateways may
 * start together: both ask for the same row's lock, and the second finds the work done.
 */
import { readdirSync, readFileSync } from 'node:fs'
import postgres from 'postgres'
import { Fault } from '../../core/base/refusal.ts'
import { sha256Hex } from '../keys/identity.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Database } from './database.ts'

export type Migration = {
  readonly number: number
  readonly name: string
  readonly text: string
}

const FOLDER = new URL('./migrations/', import.meta.url)
/** An index over a large table takes its time. */
const MIGRATION_DEADLINE_MS = 30 * 60_000

/** Every `0001-name.sql`, in order of number. */
export function readMigrations(folder: URL = FOLDER): Migration[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .toSorted()
    .map((file) => ({
      number: Number.parseInt(file, 10),
      name: file,
      text: readFileSync(new URL(file, folder), 'utf8'),
    }))
}

export async function migrate(
  database: Database,
  logger: Logger,
  migrations: readonly Migration[] = readMigrations(),
): Promise<void> {
  await makeTable(database)
  await database.transaction(async (sql) => {
    await sql`set local statement_timeout = 0`
    await sql`select number from schema_migrations where number = 0 for update`
    const applied = await sql<{ number: number; name: string; checksum: string }[]>`
      select number, name, checksum from schema_migrations where number > 0 order by number`
    check(applied, migrations)
    for (const { number, name, text } of migrations.slice(applied.length)) {
      await sql.unsafe(text)
      await sql`
        insert into schema_migrations (number, name, checksum, applied_at)
        values (${number}, ${name}, ${sha256Hex(text)}, now())`
      logger.info('schema migrated', { migration: name })
    }
  }, MIGRATION_DEADLINE_MS)
}

/** Row 0 is the lock. Creating a table that another is just creating fails on the catalog's own index: look again. */
async function makeTable(database: Database): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await database.run(
        (sql) => sql`
          create table if not exists schema_migrations (
            number integer primary key, name text not null, checksum text not null, applied_at timestamptz not null
          )`,
      )
      await database.run(
        (sql) => sql`
          insert into schema_migrations values (0, 'lock', '', now()) on conflict (number) do nothing`,
      )
      return
    } catch (error) {
      const cause = error instanceof Fault ? error.cause : null
      const raced =
        cause instanceof postgres.PostgresError && ['23505', '42P07', '42710'].includes(cause.code)
      if (!raced || tries > 5) throw error
    }
  }
}

/**
 * What only adds says so in its name, `0012-name.add.sql`: programs that do not know it run on, so that gateways can be upgraded one
 * after the other, and back. `docs/operations.md`, "Rolling restart".
 */
export const onlyAdds = (name: string): boolean => name.endsWith('.add.sql')

/** What was applied must be the beginning of what we know, byte for byte; then may come what newer programs added. */
function check(
  applied: readonly { number: number; name: string; checksum: string }[],
  known: readonly Migration[],
): void {
  for (const [index, { name, checksum }] of applied.entries()) {
    const ours = known[index]
    if (!ours) {
      if (onlyAdds(name)) continue
      throw new Fault(
        'store_newer_than_program',
        `The database has migration ${name}, which this program does not know and which does more than add: it was used by a newer Baseload. Run that one, or restore a backup from before.`,
      )
    }
    if (ours.name !== name || sha256Hex(ours.text) !== checksum) {
      throw new Fault(
        'store_other_schema',
        `The database was made with another text of migration ${name} than this program's ${ours.name}. Run the program that made it.`,
      )
    }
  }
}
