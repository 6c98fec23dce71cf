/** A PostgreSQL of a test's own, which it may kill. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../src/io/store/embedded-postgres.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import type { ProgramNetwork } from './network-of-programs.ts'
import type { Occasion } from './occasion.ts'

/** Stopped and removed with the test. */
export async function ownPostgres(t: Occasion): Promise<EmbeddedPostgres> {
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

/** SIGKILL; done when it has been started again. */
export async function killPostgres(
  postgres: EmbeddedPostgres,
  { until }: Pick<ProgramNetwork, 'until'>,
): Promise<void> {
  const killed = postgres.pid()
  assert.ok(killed !== null, 'PostgreSQL runs')
  process.kill(killed, 'SIGKILL')
  await until('PostgreSQL runs again', () => ![null, killed].includes(postgres.pid()))
}
