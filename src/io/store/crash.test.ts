/** What was acknowledged survives the sudden death of PostgreSQL, and nothing counts twice. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../core/base/refusal.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { openDatabase } from './database.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts'
import { createPostgresStore } from './postgres-store.ts'
import { nodeLedger, type Settlement, type Store } from './store.ts'
import { sampleUsage, withReceipts } from './samples.ts'
import { testTenant } from './testing.ts'

/** `KILLS=40 npm test -- crash` for the long form. */
const KILLS = Number(process.env['KILLS'] ?? 5)
const LANES = 4

describe('settling', { timeout: 60_000 + KILLS * 20_000 }, () => {
  it(`loses nothing and pays nothing twice when PostgreSQL is killed ${KILLS} times`, async (t) => {
    const { postgres, store, tenant } = await setup(t)
    const run = { going: true, acknowledged: new Map<string, bigint>(), again: 0, faults: 0 }
    t.after(() => (run.going = false))
    const lanes = Array.from({ length: LANES }, () => settleForEver(store, tenant, run))
    for (let round = 0; round < KILLS; round++) {
      const before = run.acknowledged.size
      await until(() => run.acknowledged.size > before + 500)
      await sleep(Math.random() * 50)
      await killOnce(postgres)
    }
    run.going = false
    await Promise.all(lanes)
    t.diagnostic(
      `${run.acknowledged.size} acknowledged, ${run.faults} faults, ${run.again} had been paid before the retry`,
    )
    assert.ok(run.faults > 0, 'the kills were felt')

    const sum = [...run.acknowledged.values()].reduce((a, b) => a + b, 0n)
    assert.equal((await store.balance(nodeLedger('node_a'))).balanceNanoUsd, sum)
    const audit = await store.audit()
    assert.deepEqual({ sum: audit.sumNanoUsd, wrong: audit.wrong }, { sum: 0n, wrong: [] })
    assert.equal(audit.transfers, run.acknowledged.size + 1)
    const [attempt = ''] = run.acknowledged.keys()
    assert.equal((await store.receipts(tenant, attempt.replace('att_', 'rcpt_'))).length, 1)
  })
})

describe('a transaction', { timeout: 120_000 }, () => {
  it('whose server dies in the middle of it rejects, and takes nobody with it', async (t) => {
    const postgres = await ownServer(t)
    const database = openDatabase({ url: postgres.url, logger: silentLogger, connections: 4 })
    t.after(() => database.close())
    const run = { going: true, done: 0, faults: 0 }
    t.after(() => (run.going = false))
    const lane = async (): Promise<void> => {
      while (run.going) {
        try {
          await database.transaction(async (sql) => {
            for (let i = 0; i < 60; i++) await sql`select ${i}::int`
          })
          run.done += 1
        } catch (error) {
          assert.ok(error instanceof Fault && error.retryable, String(error))
          run.faults += 1
          await sleep(20)
        }
      }
    }
    const lanes = [lane(), lane(), lane()]
    for (let round = 0; round < 3; round++) {
      const before = run.done
      await until(() => run.done > before + 5)
      await killOnce(postgres)
    }
    run.going = false
    await Promise.all(lanes)
    assert.ok(run.faults > 0, 'the kills were felt')
  })
})

/** Resolves when it runs again. */
async function killOnce(postgres: EmbeddedPostgres): Promise<void> {
  const pid = postgres.pid()
  assert.ok(pid !== null)
  killAll(pid)
  await until(() => postgres.pid() !== null && postgres.pid() !== pid)
}

/** The server and, where /proc tells them, its sessions in the middle of their work: like a power cut, but for the disk. */
function killAll(postmaster: number): void {
  const processes = process.platform === 'linux' ? readdirSync('/proc').map(Number) : []
  const sessions = processes.filter((pid) => pid > 0 && parentOf(pid) === postmaster)
  for (const pid of [...sessions, postmaster]) kill(pid)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile: as good as killed.
  }
}

function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return null
  }
}

type Run = { going: boolean; acknowledged: Map<string, bigint>; again: number; faults: number }

/** Each batch until it is acknowledged, like the meter. */
async function settleForEver(store: Store, tenant: string, run: Run): Promise<void> {
  while (run.going) {
    const usages = Array.from({ length: 40 }, (_, i) =>
      sampleUsage({ account: tenant, nanoUsd: BigInt(i + 1) }),
    )
    const batch = withReceipts(usages)
    await settleAtLast(store, batch, run)
    for (const { usage } of batch) run.acknowledged.set(usage.attempt, usage.nanoUsd)
  }
}

async function settleAtLast(store: Store, batch: readonly Settlement[], run: Run): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    try {
      const outcomes = await store.settle(batch)
      assert.ok(outcomes.every((outcome) => outcome === 'settled' || outcome === 'duplicate'))
      run.again += outcomes.filter((outcome) => outcome === 'duplicate').length
      return
    } catch (error) {
      assert.ok(error instanceof Fault && error.code === 'store_unavailable', String(error))
      run.faults += 1
      await sleep(20)
    }
  }
  throw new Error('the store did not come back')
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it did not happen within 30 s')
    await sleep(5)
  }
}

/** A server of its own: the shared one must not die. */
async function ownServer(t: TestContext) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-crash-'))
  const folder = join(home, 'postgres')
  const postgres = await startEmbeddedPostgres({ folder, logger: silentLogger })
  t.after(async () => {
    await postgres.stop()
    rmSync(home, { recursive: true, force: true })
  })
  return postgres
}

async function setup(t: TestContext) {
  const postgres = await ownServer(t)
  const store = await createPostgresStore({ url: postgres.url, logger: silentLogger })
  t.after(() => store.close())
  return { postgres, store, tenant: await testTenant(store, 10n ** 15n) }
}
