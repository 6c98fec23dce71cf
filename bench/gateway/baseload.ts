/**
 * Baseload as it is shipped: the built program over a real PostgreSQL, with a tenant who pays, and nodes that
 * link to it, sign what they did and are acknowledged.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { idFrom } from '../../src/core/base/id.ts'
import { NANO_PER_USD } from '../../src/core/base/money.ts'
import { sha256Hex } from '../../src/io/keys/identity.ts'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../src/io/store/embedded-postgres.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { NO_LIMITS, TEST_CREDIT, tenantLedger, type Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { answers, freePort, start, until, type Started } from './processes.ts'
import type { Place, Setting, Target } from './targets.ts'
import { ROOT } from './tools.ts'

const CLI = join(ROOT, 'dist', 'src', 'programs', 'cli', 'main.js')
const NODES = join(ROOT, 'dist', 'bench', 'gateway', 'nodes.js')

export const LINKS_UNDER_LOAD = 16
/** Thousands of handshakes, on a machine that may have other work. */
const LINKING_MS = 300_000

/** Runs on the load's core, as a database that belongs to nobody's gateway does. */
export async function startPostgres({ folder }: Place): Promise<EmbeddedPostgres> {
  const running = await startEmbeddedPostgres({
    folder: join(folder, 'postgres'),
    logger: silentLogger,
  })
  // When no `finally` runs, no server must be left behind.
  process.once('exit', () => {
    const pid = running.pid()
    if (pid !== null) process.kill(pid, 'SIGQUIT')
  })
  return running
}

/** A gateway with its own database and 16 linked nodes, and a tenant with plenty of credit. */
export async function startBaseload(setting: Setting, database: EmbeddedPostgres): Promise<Target> {
  const url = await newDatabase(database, 'load')
  const key = await newTenant(url)
  const gateway = await startGateway(setting, url, 'load')
  await startNodes(setting, gateway.port, LINKS_UNDER_LOAD)
  return {
    name: 'baseload',
    process: gateway.process,
    port: gateway.port,
    headers: [`Authorization: Bearer ${key}`],
  }
}

export type Gateway = { readonly process: Started; readonly port: number }

/**
 * The built program, with the settings that people get who set nothing, but without a log line for each request:
 * the others write none either.
 */
export async function startGateway(
  { cores, folder, profileFolder }: Place,
  databaseUrl: string,
  name: string,
): Promise<Gateway> {
  const port = await freePort()
  const home = join(folder, `gateway-${name}`)
  const log = join(folder, `gateway-${name}.log`)
  closeSync(openSync(log, 'w'))
  const profiling = profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
  const args = [...profiling, CLI, 'gateway', '--home', home, '--port', String(port)]
  const gateway = start(
    cores.gateway,
    process.execPath,
    [...args, '--log-file', log, '--log-requests', 'off'],
    {
      NODE_ENV: 'production',
      DATABASE_URL: databaseUrl,
    },
  )
  await until('gateway', gateway, () => answers(port))
  return { process: gateway, port }
}

/** Resolves when all of them are linked. */
export async function startNodes(
  { cores }: Place,
  gatewayPort: number,
  links: number,
): Promise<Started> {
  const args = [NODES, `http://127.0.0.1:${gatewayPort}`, String(links)]
  const nodes = start(cores.load, process.execPath, args)
  await until(`${links} nodes`, nodes, () => nodes.lines.includes('linked'), LINKING_MS)
  return nodes
}

export async function newDatabase(database: EmbeddedPostgres, name: string): Promise<string> {
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  await sql.unsafe(`create database bench_${name}`)
  await sql.end()
  return database.url.replace(/[^/]*$/, `bench_${name}`)
}

/** Returns the tenant's API key. */
export async function newTenant(databaseUrl: string): Promise<string> {
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const id = idFrom('acct', randomBytes(15))
  await store.createAccount({ id, kind: 'tenant', name: 'bench', limits: NO_LIMITS })
  await store.transfer({
    key: `deposit-${id}`,
    debit: TEST_CREDIT,
    credit: tenantLedger(id),
    nanoUsd: 100_000n * NANO_PER_USD,
    kind: 'deposit',
    reference: 'bench',
  })
  const key = await newKey(store, id)
  await store.close()
  return key
}

async function newKey(store: Store, account: string): Promise<string> {
  const key = `sk-bl-${randomBytes(32).toString('base64url')}`
  await store.createKey({
    id: idFrom('key', randomBytes(15)),
    account,
    name: 'bench',
    hint: key.slice(0, 10),
    hash: sha256Hex(key),
    scopes: ['inference'],
    limits: NO_LIMITS,
    budgetNanoUsd: null,
    expiresAt: null,
  })
  return key
}

/** What the gateway itself says it settled: a figure without the money behind it would be no figure. */
export async function settledReceipts(
  port: number,
): Promise<{ backlog: number; pending: number; disputed: number }> {
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const value = (name: string) =>
    Number(new RegExp(`^${name} (\\S+)`, 'm').exec(metrics)?.[1] ?? NaN)
  return {
    backlog: value('baseload_settlement_backlog'),
    pending: value('baseload_receipts_pending'),
    disputed: value('baseload_receipts_disputed_total'),
  }
}
