/**
 * A real PostgreSQL for tests: one server a process, started when first asked for and stopped when the tests are
 * done; a database of its own for each test. Also settlements and receipts that look like real ones.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import postgres from 'postgres'
import { idFrom } from '../../core/base/id.ts'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptIdOf,
  receiptText,
  type Receipt,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, type Identity } from '../keys/identity.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts'
import { createPostgresStore } from './postgres-store.ts'
import {
  NO_LIMITS,
  TEST_CREDIT,
  tenantLedger,
  type Settlement,
  type Store,
  type StoredReceipt,
  type Usage,
} from './store.ts'

let shared: Promise<EmbeddedPostgres> | null = null
let folder = ''
let databases = 0

after(async () => {
  const running = await shared
  await running?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** When the tests are cut short no hook runs, and a server must not be left behind. */
function killAtExit(running: EmbeddedPostgres): void {
  process.once('exit', () => {
    const pid = running.pid()
    if (pid !== null) process.kill(pid, 'SIGQUIT')
  })
}

/** The test process's own server. */
export function testPostgres(): Promise<EmbeddedPostgres> {
  shared ??= (async () => {
    folder = mkdtempSync(join(tmpdir(), 'baseload-test-'))
    const path = join(folder, 'postgres')
    const running = await startEmbeddedPostgres({ folder: path, logger: silentLogger })
    killAtExit(running)
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

export const testId = (prefix: Parameters<typeof idFrom>[0]): string =>
  idFrom(prefix, randomBytes(15))

/** What a node did, 10 tokens in and 20 out, for one microdollar unless told otherwise. */
export function testUsage(more: Partial<Usage> & Pick<Usage, 'account'>): Usage {
  return {
    attempt: testId('att'),
    request: testId('req'),
    apiKey: 'key_none',
    node: 'node_a',
    model: 'bard-3m',
    api: 'chat',
    billedInputTokens: 10,
    outputTokens: 20,
    nanoUsd: 1000n,
    hold: null,
    startedAt: 1_700_000_000_000,
    finishedAt: 1_700_000_001_000,
    witness: 'node',
    ...more,
  }
}

/** These attempts with receipts, signed by one node as one batch. */
export function withReceipts(
  usages: readonly Usage[],
  node: Identity = ephemeralIdentity('node'),
): Settlement[] {
  const texts = usages.map((usage) => receiptText(testReceipt(usage, node)))
  const leaves = texts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const batch = {
    root,
    signer: node.publicKey,
    signedAtMs: 1_700_000_001_100,
    signature: node.sign(RECEIPT_DOMAIN, batchText(root, leaves.length, 1_700_000_001_100)),
    leaves: Buffer.concat(leaves),
  }
  return usages.map((usage, leafIndex) => {
    const { attempt, account } = usage
    const text = texts[leafIndex] ?? ''
    const receipt: StoredReceipt = {
      id: receiptIdOf(attempt),
      attempt,
      account,
      text,
      batch,
      leafIndex,
    }
    return { usage, receipt }
  })
}

const testReceipt = (usage: Usage, node: Identity): Receipt => ({
  v: 1,
  id: receiptIdOf(usage.attempt),
  attempt: usage.attempt,
  request: usage.request,
  gateway: 'gw_0123456789abcdefghjkmnpq',
  node: node.id,
  nodeKey: node.publicKey,
  api: usage.api,
  model: usage.model,
  modelDigest: `sha256:${'5'.repeat(64)}`,
  engine: 'llama.cpp/3.22.1',
  requestHash: '1'.repeat(64),
  outputHash: '2'.repeat(64),
  textHash: '3'.repeat(64),
  choice: 0,
  seed: 42,
  firstToken: 0,
  inputTokens: usage.billedInputTokens,
  billedInputTokens: usage.billedInputTokens,
  outputTokens: usage.outputTokens,
  finish: 'stop',
  startedAtMs: usage.startedAt,
  finishedAtMs: usage.finishedAt,
  inputNanoUsdPerMTok: '20000000',
  outputNanoUsdPerMTok: '40000000',
  carryIn: 0,
  carryOut: 0,
  nanoUsd: String(usage.nanoUsd),
  previous: NO_PREVIOUS,
})
