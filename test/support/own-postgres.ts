/** A PostgreSQL of a test's own, which it may kill. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../src/io/store/embedded-postgres.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'

/** Stopped and removed with the test. */
export async function ownPostgres(t: TestContext): Promise<EmbeddedPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-postgres-'))
  const postgres = await startEmbeddedPostgres({ folder, logger: silentLogger })
  const killAtExit = (): void => {
    const pid = postgres.pid()
    if (pid !== null) process.kill(pid, 'SIGQUIT')
  }
  process.once('exit', killAtExit)
  t.after(async () => {
    await postgres.stop()
    process.off('exit', killAtExit)
    rmSync(folder, { recursive: true, force: true })
  })
  return postgres
}
