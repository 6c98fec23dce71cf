/** An embedded PostgreSQL for the length of a bench, in a folder of its own that is removed afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/io/store/embedded-postgres.ts'
import { silentLogger } from '../src/io/telemetry/logger.ts'

export type Place = { readonly postgres: EmbeddedPostgres; readonly home: string }

/** Gives what `bench` gives: whether every bar is met. */
export async function withPostgres(bench: (place: Place) => Promise<boolean>): Promise<boolean> {
  const home = mkdtempSync(join(tmpdir(), 'baseload-bench-'))
  const folder = join(home, 'postgres')
  const postgres = await startEmbeddedPostgres({ folder, logger: silentLogger })
  try {
    return await bench({ postgres, home })
  } finally {
    await postgres.stop()
    rmSync(home, { recursive: true, force: true })
  }
}
