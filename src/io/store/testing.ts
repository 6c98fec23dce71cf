/**
 * A real PostgreSQL for tests: one server a process, started when first asked for and stopped when the tests are
 * done; a database of its own for each test.
 */
import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import postgres from 'postgres'
import type { IdPrefix } from '../../core/base/id.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts'
import { createPostgresStore } from './postgres-store.ts'
import { randomId } from './samples.ts'
import { NO_LIMITS, TEST_CREDIT, tenantLedger, type Store } from './store.ts'

let shared: Promise<EmbeddedPostgres> | null = null
let folder = ''
let databases = 0

after(async () => {
  const running = await shared
  await running?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/**
 * However this process ends, by a signal too, the kernel closes our end of a pipe; a shell waits at the other end
 * and cleans up. Without it a run that is cut short would leave a server behind.
 */
function endWithUs(pid: number | null): void {
  const cleanUp = 'read _; kill -QUIT "$1" 2>/dev/null; sleep 1; rm -rf "$2"'
  const shell = spawn('sh', ['-c', cleanUp, 'sh', String(pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.unref()
  if (shell.stdin instanceof Socket) shell.stdin.unref()
}

/** The test process's own server. */
export function testPostgres(): Promise<EmbeddedPostgres> {
  shared ??= (async () => {
    folder = mkdtempSync(join(tmpdir(), 'baseload-test-'))
    const path = join(folder, 'postgres')
    const running = await startEmbeddedPostgres({ folder: path, logger: silentLogger })
    endWithUs(running.pid())
    return running
  })()
  return shared
}

/** A new, empty database on it. */
export async function testDatabaseUrl(): Promise<string> {
  const { url } = await testPostgres()
  const name = `test_${(databases += 1)}`
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  await sql.unsafe(`create database ${name}`)
  await sql.end()
  return url.replace(/[^/]*$/, name)
}

/** A store over a database of its own, closed when the test ends. */
export async function testStore(t: TestContext): Promise<Store> {
  const store = await createPostgresStore({ url: await testDatabaseUrl(), logger: silentLogger })
  t.after(() => store.close())
  return store
}

/** A tenant with money. */
export async function testTenant(store: Store, nanoUsd: bigint): Promise<string> {
  const id = testId('acct')
  await store.createAccount({ id, kind: 'tenant', name: 'a tenant', limits: NO_LIMITS })
  if (nanoUsd > 0n) {
    await store.transfer({
      key: `deposit-${id}`,
      debit: TEST_CREDIT,
      credit: tenantLedger(id),
      nanoUsd,
      kind: 'deposit',
      reference: 'test',
    })
  }
  return id
}

/** A key of that tenant. */
export async function testKey(
  store: Store,
  account: string,
  budgetNanoUsd: bigint | null = null,
): Promise<string> {
  const id = testId('key')
  await store.createKey({
    id,
    account,
    name: 'a key',
    hint: 'bl_test',
    hash: randomBytes(32).toString('hex'),
    scopes: ['inference'],
    limits: NO_LIMITS,
    budgetNanoUsd,
    expiresAt: null,
  })
  return id
}

export const testId = (prefix: IdPrefix): string => randomId(prefix)
