import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { Fault } from '../../core/base/refusal.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { openDatabase } from './database.ts'
import { migrate, onlyAdds, readMigrations } from './migrate.ts'
import { createPostgresStore } from './postgres-store.ts'
import { testDatabaseUrl } from './testing.ts'

describe('database', { timeout: 120_000 }, () => {
  it('says at once that nobody listens', async (t) => {
    const database = await open(t, 'postgres://baseload:x@127.0.0.1:1/postgres')
    const started = Date.now()
    await assert.rejects(
      database.run((sql) => sql`select 1`),
      isAway,
    )
    assert.ok(Date.now() - started < 2_000)
  })

  it('goes on by itself when the server is back', async (t) => {
    const proxy = await cuttable(t)
    const database = await open(t, proxy.url)
    await database.run((sql) => sql`select 1`)
    proxy.cut()
    await assert.rejects(
      database.run((sql) => sql`select 1`),
      isAway,
    )
    proxy.mend()
    assert.equal((await database.run((sql) => sql`select 1 as one`))[0]?.['one'], 1)
  })

  it('does not wait for ever for a server that says nothing, and recovers from it', async (t) => {
    const proxy = await cuttable(t)
    const database = await open(t, proxy.url)
    await database.run((sql) => sql`select 1`)
    proxy.silence(true)
    const waiting = Array.from({ length: 10 }, () =>
      assert.rejects(
        database.run((sql) => sql`select 1`, 200),
        isAway,
      ),
    )
    await Promise.all(waiting)
    proxy.silence(false)
    assert.equal((await database.run((sql) => sql`select 1 as one`))[0]?.['one'], 1)
  })

  it('tells values that can never be stored from a database that is away', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    await assert.rejects(
      database.run((sql) => sql`select 1 / ${0}::int`),
      (error) => error instanceof Fault && error.code === 'store_rejected' && !error.retryable,
    )
  })

  it('runs a transaction again when the database asks for it', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    await database.run((sql) => sql`create table counter (id int primary key, n int)`)
    await database.run((sql) => sql`insert into counter values (1, 0), (2, 0)`)
    const bump = (first: number, second: number): Promise<unknown> =>
      database.transaction(async (sql) => {
        await sql`update counter set n = n + 1 where id = ${first}`
        await sql`update counter set n = n + 1 where id = ${second}`
      })
    await Promise.all([bump(1, 2), bump(2, 1), bump(1, 2), bump(2, 1)])
    const rows = await database.run((sql) => sql`select n from counter`)
    assert.deepEqual(
      rows.map((row) => row['n'] as number),
      [4, 4],
    )
  })
})

describe('migrations', { timeout: 120_000 }, () => {
  it('are applied once when several gateways start together', async (t) => {
    const url = await testDatabaseUrl()
    const stores = await Promise.all(
      [1, 2, 3, 4].map(() => createPostgresStore({ url, logger: silentLogger })),
    )
    for (const store of stores) await store.close()
    const database = await open(t, url)
    const rows = await database.run(
      (sql) => sql`select number from schema_migrations where number > 0 order by number`,
    )
    assert.deepEqual(
      rows.map((row) => row['number'] as number),
      readMigrations().map(({ number }) => number),
    )
  })

  it('refuses a database that a newer program has used', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    const known = readMigrations()
    const next = { number: 9999, name: '9999-later.sql', text: 'select 1' }
    await migrate(database, silentLogger, [...known, next])
    await assert.rejects(
      migrate(database, silentLogger, known),
      (error) => error instanceof Fault && error.code === 'store_newer_than_program',
    )
  })

  it('lets an older program run on what a newer one only added', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    const known = readMigrations()
    const text = 'alter table gateways add column later text'
    const next = { number: 9998, name: '9998-later.add.sql', text }
    await migrate(database, silentLogger, [...known, next])
    await migrate(database, silentLogger, known)
    await migrate(database, silentLogger, [...known, next])
    const other = { number: 9999, name: '9999-other.sql', text: 'select 1' }
    await migrate(database, silentLogger, [...known, next, other])
    await assert.rejects(migrate(database, silentLogger, known), /9999-other/)
  })

  it('add nothing but what older programs can ignore, where their names say so', () => {
    const adding = readMigrations().filter(({ name }) => onlyAdds(name))
    assert.ok(adding.length > 0)
    for (const { name, text } of adding) {
      const statements = text
        .replace(/--.*/g, '')
        .split(';')
        .map((one) => one.trim())
      for (const statement of statements.filter((one) => one !== '')) {
        const addsColumn = /^alter table \w+ add column /.test(statement)
        const mustBeGiven = /not null/.test(statement) && !/default/.test(statement)
        const adds = /^create (table|index) /.test(statement) || (addsColumn && !mustBeGiven)
        assert.ok(adds, `${name}: ${statement}`)
      }
    }
  })

  it('refuses a migration whose text has changed', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    const migration = { number: 1, name: '0001-a.sql', text: 'select 1' }
    await migrate(database, silentLogger, [migration])
    await assert.rejects(
      migrate(database, silentLogger, [{ ...migration, text: 'select 2' }]),
      (error) => error instanceof Fault && error.code === 'store_other_schema',
    )
  })

  it('leave nothing behind when one of them fails', async (t) => {
    const database = await open(t, await testDatabaseUrl())
    const good = { number: 1, name: '0001-a.sql', text: 'create table a (id int)' }
    const bad = { number: 2, name: '0002-b.sql', text: 'create table b (id int); nonsense' }
    await assert.rejects(migrate(database, silentLogger, [good, bad]), /nonsense/)
    await migrate(database, silentLogger, [good])
  })
})

const isAway = (error: unknown): boolean =>
  error instanceof Fault && error.code === 'store_unavailable' && error.retryable

async function open(t: TestContext, url: string) {
  const database = openDatabase({ url, logger: silentLogger, connections: 4 })
  t.after(() => database.close())
  return await Promise.resolve(database)
}

/** A proxy before a real database that can cut its connections, or keep them open and pass nothing on. */
async function cuttable(t: TestContext) {
  const url = new URL(await testDatabaseUrl())
  const port = Number(url.port)
  const sockets = new Set<Socket>()
  const state = { cut: false, silent: false }
  const server = createServer((near) => {
    if (state.cut) {
      near.resetAndDestroy()
      return
    }
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
      })
    }
    near.on('data', (bytes) => state.silent || far.write(bytes))
    far.on('data', (bytes) => near.write(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cut() {
      state.cut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      state.cut = false
    },
    silence(silent: boolean) {
      state.silent = silent
    },
  }
}
