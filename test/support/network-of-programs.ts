/**
 * A network whose every part is a process of its own: gateways and nodes of the built program, the real demo
 * model, a real PostgreSQL. The test holds the store and the processes, and may kill any of them.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDatabase, type Database } from '../../src/io/store/database.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { NO_LIMITS, type ApiKey, type Scope, type Store } from '../../src/io/store/store.ts'
import { testDatabaseUrl, testId, testTenant } from '../../src/io/store/testing.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { mintSecret } from '../../src/programs/gateway/control/key-secret.ts'
import { readRecords } from '../../src/programs/node/spool-record.ts'
import type { FleetEngineSettings } from './fleet/fleet-engine.ts'
import { fakeNodeProgram, freePort, gatewayProgram, nodeProgram, type Program } from './program.ts'
import type { Occasion } from './occasion.ts'

export type GatewayProcess = {
  readonly program: Program
  readonly url: string
  readonly home: string
}
export type NodeProcess = { readonly program: Program; readonly id: string; readonly home: string }

export type ProgramNetwork = {
  readonly gateways: readonly [GatewayProcess, ...GatewayProcess[]]
  readonly nodes: readonly NodeProcess[]
  readonly url: string
  readonly store: Store
  readonly database: Database
  readonly account: string
  /** A key of the tenant `account`, without limits. */
  readonly key: string
  newKey(account: string, more?: Partial<ApiKey>): Promise<string>
  newTenant(nanoUsd: bigint): Promise<string>
  /** Looks every 50 ms until it holds; fails after `patienceMs`, with what the processes said. */
  until(what: string, holds: () => boolean | Promise<boolean>, patienceMs?: number): Promise<void>
  /** Waits until the gateway has so many nodes linked. */
  linked(url: string, nodes: number): Promise<void>
}

export const TENANT_NANO_USD = 100_000_000_000n
const PATIENCE_MS = 60_000

export async function programNetwork(
  t: Occasion,
  options: {
    nodes: number
    gateways?: number
    /** A PostgreSQL of the test's own. */
    databaseUrl?: string
    /** What a node dials instead of the gateway's own port. */
    dial?: (gatewayPort: number, node: number) => Promise<number>
    nodeFlags?: Readonly<Record<string, string>>
    /** Fake nodes instead of the built program with the demo model. */
    fake?: FleetEngineSettings
    /** Everything that they log, in `log` of each home. */
    keepLogs?: boolean
    /** More settings of the gateway that will have this port. */
    gatewayEnv?: (port: number) => Promise<NodeJS.ProcessEnv>
  },
): Promise<ProgramNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-e2e-'))
  const databaseUrl = options.databaseUrl ?? (await testDatabaseUrl())
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const database = openDatabase({ url: databaseUrl, logger: silentLogger, connections: 1 })
  const programs: Program[] = []
  t.after(async () => {
    // Whoever still writes into the folder ends first.
    await Promise.all(programs.map((program) => program.kill('SIGKILL')))
    await Promise.all([store.close(), database.close()])
    rmSync(folder, { recursive: true, force: true })
  })
  const gateways: GatewayProcess[] = []
  const ports: number[] = []
  for (let i = 0; i < (options.gateways ?? 1); i++) {
    const port = await freePort()
    const name = `gateway ${i + 1}`
    const home = join(folder, `gateway-${i + 1}`)
    const url = `http://127.0.0.1:${port}`
    const more = (await options.gatewayEnv?.(port)) ?? {}
    const env = { ...(options.keepLogs ? logsIn(home) : {}), ...more }
    const program = gatewayProgram({ name, home, port, databaseUrl, env })
    programs.push(program)
    gateways.push({ program, url, home })
    ports.push(port)
  }
  await Promise.all(gateways.map(({ program }) => program.start()))
  const nodes = await Promise.all(
    Array.from({ length: options.nodes }, async (_, i) => {
      const home = join(folder, `node-${i + 1}`)
      const dialled = await Promise.all(
        ports.map(async (port) => (await options.dial?.(port, i)) ?? port),
      )
      const urls = dialled.map((port) => `http://127.0.0.1:${port}`)
      const logs = { 'log-level': 'debug', 'log-file': join(home, 'log') }
      const flags = { ...options.nodeFlags, ...(options.keepLogs && logs) }
      const plan = { name: `node ${i + 1}`, home, gateways: urls }
      const program = options.fake
        ? fakeNodeProgram({ ...plan, engine: options.fake })
        : nodeProgram({ ...plan, flags })
      programs.push(program)
      return { program, home, id: await program.start() }
    }),
  )
  const [first, ...others] = gateways
  assert.ok(first, 'a network has a gateway')

  const newTenant = (nanoUsd: bigint) => testTenant(store, nanoUsd)
  const newKey = async (account: string, more: Partial<ApiKey> = {}) => {
    const { secret, hash, hint } = mintSecret(randomBytes)
    const scopes: readonly Scope[] = ['inference', 'account', 'keys']
    const unlimited = { limits: NO_LIMITS, budgetNanoUsd: null, expiresAt: null }
    const id = testId('key')
    await store.createKey({ id, account, name: 'e2e', hint, hash, scopes, ...unlimited, ...more })
    return secret
  }
  const until: ProgramNetwork['until'] = async (what, holds, patienceMs = PATIENCE_MS) => {
    const deadline = performance.now() + patienceMs
    while (!(await holds())) {
      if (performance.now() > deadline) {
        const said = [...gateways, ...nodes].map(
          ({ program }) => `${program.name}: ${program.said.slice(-2000)}`,
        )
        assert.fail(`waited ${patienceMs} ms in vain: ${what}\n${said.join('\n')}`)
      }
      await sleep(50)
    }
  }
  const linked = (url: string, count: number) =>
    until(`${count} nodes at ${url}`, async () => (await nodesAt(url)) >= count)
  for (const { url } of gateways) await linked(url, nodes.length)
  const account = await newTenant(TENANT_NANO_USD)
  const key = await newKey(account)
  return {
    gateways: [first, ...others],
    nodes,
    url: first.url,
    store,
    database,
    account,
    key,
    newKey,
    newTenant,
    until,
    linked,
  }
}

const logsIn = (home: string) => ({
  BASELOAD_LOG_LEVEL: 'debug',
  BASELOAD_LOG_FILE: join(home, 'log'),
})

async function nodesAt(url: string): Promise<number> {
  const response = await fetch(`${url}/v1/network`).catch(() => null)
  if (!response?.ok) return 0
  const { nodes }: { nodes: number } = JSON.parse(await response.text())
  return nodes
}

/** The receipts in a node's spool: those it has seen acknowledged, and those it still keeps. */
export function readSpools(home: string): { acknowledged: string[]; kept: string[] } {
  const kept = new Set<string>()
  const acknowledged = new Set<string>()
  const folder = join(home, 'spool')
  for (const gateway of readdirSync(folder)) {
    const { records } = readRecords(readFileSync(join(folder, gateway, 'receipts.log')))
    for (const { kind, payload } of records) {
      if (kind === 'R') kept.add((JSON.parse(payload) as { id: string }).id)
      if (kind !== 'A') continue
      for (const id of payload.split(' ')) {
        acknowledged.add(id)
        kept.delete(id)
      }
    }
  }
  return { acknowledged: [...acknowledged], kept: [...kept] }
}
