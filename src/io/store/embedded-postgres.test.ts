import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Fault } from '../../core/base/refusal.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { isAlive } from './postmaster.ts'

describe('embedded PostgreSQL', { timeout: 240_000 }, () => {
  it('starts with checksums and durable commits, and keeps data, password and port', async (t) => {
    const { folder, start } = setup(t)
    const first = await start()
    assert.deepEqual(await ask(first.url, 'show data_checksums'), 'on')
    assert.deepEqual(await ask(first.url, 'show fsync'), 'on')
    assert.deepEqual(await ask(first.url, 'show synchronous_commit'), 'on')
    await ask(first.url, 'create table kept as select 42 as answer')
    await first.stop()
    assert.equal(first.pid(), null)

    const second = await start()
    assert.equal(second.url, first.url)
    assert.equal(await ask(second.url, 'select answer from kept'), 42)
    assert.ok(!readFileSync(join(folder, 'postgres.log'), 'utf8').includes('PANIC'))
  })

  it('lets nobody in without the password', async (t) => {
    const { start } = setup(t)
    const { url } = await start()
    await assert.rejects(ask(url.replace(/:[^:@]*@/, ':wrong@'), 'select 1'), /password/)
  })

  it('starts again when it dies, under the same URL', async (t) => {
    const { start } = setup(t)
    const running = await start()
    const pid = running.pid()
    assert.ok(pid !== null)
    process.kill(pid, 'SIGKILL')
    await until(() => running.pid() !== null && running.pid() !== pid)
    assert.equal(await ask(running.url, 'select 1'), 1)
  })

  it('says so when it keeps dying, and goes on trying', async (t) => {
    const { start } = setup(t)
    const told: Fault[] = []
    const running = await start((fault) => told.push(fault))
    for (let kill = 0; kill < 4; kill++) {
      await until(() => running.pid() !== null)
      const pid = running.pid() ?? 0
      process.kill(pid, 'SIGKILL')
      await until(() => running.pid() !== pid)
    }
    await until(() => running.pid() !== null)
    assert.equal(told[0]?.code, 'postgres_keeps_dying')
    assert.equal(await ask(running.url, 'select 1'), 1)
  })

  it('adopts a server whose program was killed, and looks after it', async (t) => {
    const { folder, start } = setup(t)
    const orphan = await startAndAbandon(folder)
    assert.ok(isAlive(orphan.pid), 'the server outlived its program')

    const adopted = await start()
    assert.deepEqual({ url: adopted.url, pid: adopted.pid() }, orphan)
    process.kill(orphan.pid, 'SIGKILL')
    await until(() => adopted.pid() !== null && adopted.pid() !== orphan.pid)
    assert.equal(await ask(adopted.url, 'select 1'), 1)
    const last = adopted.pid() ?? 0
    await adopted.stop()
    assert.ok(!isAlive(last))
  })

  it('starts over a stale pid file', async (t) => {
    const { folder, start } = setup(t)
    const first = await start()
    const pidFile = readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8')
    await first.stop()
    // The pid now belongs to somebody else: to this very test.
    writeFileSync(
      join(folder, 'data', 'postmaster.pid'),
      pidFile.replace(/^\d+/, String(process.ppid)),
    )
    const second = await start()
    assert.notEqual(second.pid(), process.ppid)
    assert.equal(await ask(second.url, 'select 1'), 1)
  })

  it('keeps its data when root may run it another way than last time', async (t) => {
    const { folder, start } = setup(t)
    const owners = new Set<number>()
    for (const mode of [0o700, 0o711, 0o700]) {
      chmodSync(dirname(folder), mode)
      const running = await start()
      await ask(running.url, 'create table if not exists kept as select 42 as answer')
      assert.equal(await ask(running.url, 'select answer from kept'), 42)
      owners.add(statSync(join(folder, 'data')).uid)
      await running.stop()
    }
    // As root, from a place that others can enter: in a user namespace, as its own user, and back.
    t.diagnostic(`owners of the data: ${[...owners].join(', ')}`)
  })

  it('refuses data of another major version, and says what to do', async (t) => {
    const { folder, start } = setup(t)
    await (await start()).stop()
    writeFileSync(join(folder, 'data', 'PG_VERSION'), '15\n')
    await assert.rejects(start(), (error) => {
      assert.ok(error instanceof Fault)
      assert.equal(error.code, 'postgres_other_version')
      assert.match(error.message, /PostgreSQL 15.*DATABASE_URL/s)
      return true
    })
  })

  it('names DATABASE_URL where npm has no PostgreSQL for the platform', () => {
    assert.throws(() => findPostgresBinaries('plan9-mips'), /DATABASE_URL/)
  })
})

/** A program that starts a server and is then killed without a chance to stop it. */
async function startAndAbandon(folder: string): Promise<{ url: string; pid: number }> {
  const source = new URL('./embedded-postgres.ts', import.meta.url).href
  const logger = new URL('../telemetry/logger.ts', import.meta.url).href
  const program = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(source)})
    const { silentLogger } = await import(${JSON.stringify(logger)})
    const running = await startEmbeddedPostgres({ folder: ${JSON.stringify(folder)}, logger: silentLogger })
    process.stdout.write(JSON.stringify({ url: running.url, pid: running.pid() }))`
  const child = spawn(
    process.execPath,
    [...process.execArgv, '--input-type=module', '-e', program],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  child.kill('SIGKILL')
  await once(child, 'exit')
  return JSON.parse(String(text)) as { url: string; pid: number }
}

async function ask(url: string, question: string): Promise<unknown> {
  const sql = postgres(url, { max: 1, onnotice: () => {}, backoff: () => 0 })
  try {
    const [row] = await sql.unsafe(question)
    return row && Object.values(row)[0]
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it did not happen within 30 s')
    await sleep(10)
  }
}

function setup(t: TestContext) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-pg-'))
  const folder = join(home, 'postgres')
  const running: EmbeddedPostgres[] = []
  t.after(async () => {
    for (const one of running) await one.stop()
    rmSync(home, { recursive: true, force: true })
  })
  const start = async (onDown: (fault: Fault) => void = () => {}): Promise<EmbeddedPostgres> => {
    const started = await startEmbeddedPostgres({ folder, logger: silentLogger, onDown })
    running.push(started)
    return started
  }
  return { folder, start }
}
