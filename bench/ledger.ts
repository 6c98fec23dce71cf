/**
 * `npm run bench:ledger -- [--quick]`: how many usage postings a second the embedded PostgreSQL makes durable, in
 * batches as the meter writes them and one by one, and what one costs the gateway in CPU.
 *
 * A posting here is a whole settlement: the transfer from tenant to node, its usage row, its signed receipt, and
 * its part of the balances, the hold and the key's spending. Receipts are signed beforehand: that is the
 * nodes' work. Batches and singles take turns in one database, and medians over the rounds count. At the end
 * the server is killed without warning and started again: what was counted must be there, and the books must balance.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createPostgresStore } from '../src/io/store/postgres-store.ts'
import { randomId, sampleUsage, withReceipts } from '../src/io/store/samples.ts'
import {
  NO_LIMITS,
  TEST_CREDIT,
  tenantLedger,
  type Settlement,
  type Store,
} from '../src/io/store/store.ts'
import { silentLogger } from '../src/io/telemetry/logger.ts'
import { withPostgres, type Place } from './with-postgres.ts'

const BAR_POSTINGS_PER_SECOND = 10_000
const BATCH = 500
const TENANTS = 50
const NODES = 10
/** What a node signs at once under some load. */
const RECEIPTS_PER_SIGNATURE = 25

type Plan = { readonly rounds: number; readonly batches: number; readonly singleMs: number }
const FULL: Plan = { rounds: 7, batches: 30, singleMs: 2_000 }
const QUICK: Plan = { rounds: 3, batches: 16, singleMs: 1_000 }

const WAYS = [
  { name: 'batches of 500, 2 in flight', size: BATCH, lanes: 2 },
  { name: 'one by one, 1 in flight', size: 1, lanes: 1 },
  { name: 'one by one, 16 in flight', size: 1, lanes: 16 },
] as const
type Way = (typeof WAYS)[number]
type Round = { readonly perSecond: number; readonly cpuUs: number; readonly p50Ms: number }

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const plan = flags.quick ? QUICK : FULL
process.exitCode = (await withPostgres(bench)) ? 0 : 1

async function bench(place: Place): Promise<boolean> {
  const store = await createPostgresStore({
    url: place.postgres.url,
    logger: silentLogger,
    connections: 16,
  })
  const tenants = await makeTenants(store)
  const rounds = new Map<Way, Round[]>(WAYS.map((way) => [way, []]))
  let settled = 0
  // The first round warms up compilers, plans and caches, and does not count.
  for (let round = 0; round <= plan.rounds; round++) {
    for (const way of WAYS) {
      const batches = makeBatches(tenants, way)
      const { count, ...figures } = await run(store, batches, way)
      settled += count
      if (round > 0) rounds.get(way)?.push(figures)
    }
  }
  const kept = await survives(place, store, settled)
  await store.close()
  return report(rounds, settled, kept)
}

type Tenant = { readonly account: string; readonly apiKey: string; readonly hold: string }

async function makeTenants(store: Store): Promise<Tenant[]> {
  const made: Tenant[] = []
  for (let i = 0; i < TENANTS; i++) {
    const tenant = { account: randomId('acct'), apiKey: randomId('key'), hold: randomId('hold') }
    const { account, apiKey, hold } = tenant
    await store.createAccount({ id: account, kind: 'tenant', name: 'bench', limits: NO_LIMITS })
    await store.transfer({
      key: `deposit-${account}`,
      debit: TEST_CREDIT,
      credit: tenantLedger(account),
      nanoUsd: 10n ** 15n,
      kind: 'deposit',
      reference: 'bench',
    })
    await store.createKey({
      id: apiKey,
      account,
      name: 'bench',
      hint: 'bench',
      hash: apiKey,
      scopes: ['inference'],
      limits: NO_LIMITS,
      budgetNanoUsd: null,
      expiresAt: null,
    })
    const expiresAt = Date.now() + 3_600_000
    await store.openHold({ id: hold, account, nanoUsd: 10n ** 14n, gateway: 'gw_bench', expiresAt })
    made.push(tenant)
  }
  return made
}

/** One by one runs for a time, so it gets as many as could ever be needed in it. */
function makeBatches(tenants: readonly Tenant[], way: Way): Settlement[][] {
  const total = way.size === 1 ? plan.singleMs * 3 : plan.batches * BATCH
  const signed: Settlement[] = []
  while (signed.length < total) {
    const usages = Array.from({ length: RECEIPTS_PER_SIGNATURE }, () => {
      const tenant = tenants[Math.floor(Math.random() * TENANTS)]!
      const node = `node_${Math.floor(Math.random() * NODES)}`
      return sampleUsage({ ...tenant, node })
    })
    signed.push(...withReceipts(usages))
  }
  const batches: Settlement[][] = []
  for (let at = 0; at < signed.length; at += way.size) batches.push(signed.slice(at, at + way.size))
  return batches
}

async function run(
  store: Store,
  batches: readonly Settlement[][],
  way: Way,
): Promise<Round & { count: number }> {
  const latencies: number[] = []
  const end = way.size === 1 ? performance.now() + plan.singleMs : Infinity
  let next = 0
  let count = 0
  const lane = async (): Promise<void> => {
    for (;;) {
      const batch = batches[next++]
      if (!batch || performance.now() > end) return
      const started = performance.now()
      const outcomes = await store.settle(batch)
      latencies.push(performance.now() - started)
      if (outcomes.some((outcome) => outcome !== 'settled')) throw new Error('not all were settled')
      count += batch.length
    }
  }
  const started = performance.now()
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: way.lanes }, lane))
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(before)
  return {
    count,
    perSecond: count / seconds,
    cpuUs: (user + system) / count,
    p50Ms: median(latencies),
  }
}

/** Nothing that was answered is missing after the server died, and the books balance. */
async function survives({ postgres }: Place, store: Store, settled: number): Promise<boolean> {
  const pid = postgres.pid()
  if (pid !== null) process.kill(pid, 'SIGKILL')
  while (postgres.pid() === null || postgres.pid() === pid) await sleep(20)
  const { sumNanoUsd, transfers, wrong } = await store.audit()
  return sumNanoUsd === 0n && wrong.length === 0 && transfers === settled + TENANTS
}

function report(
  rounds: ReadonlyMap<Way, readonly Round[]>,
  settled: number,
  kept: boolean,
): boolean {
  const rows = [...rounds].map(([way, all]) => ({
    name: way.name,
    perSecond: Math.round(median(all.map(({ perSecond }) => perSecond))),
    cpuUs: Math.round(median(all.map(({ cpuUs }) => cpuUs)) * 10) / 10,
    p50Ms: Math.round(median(all.map(({ p50Ms }) => p50Ms)) * 10) / 10,
  }))
  const [batched, single, concurrent] = rows
  if (!batched || !single || !concurrent) throw new Error('a way was not measured')
  console.log(`Durable usage postings, embedded PostgreSQL, median of ${plan.rounds} rounds\n`)
  console.log(line('', 'postings/s', 'gateway CPU µs each', 'p50 ms a statement'))
  for (const { name, perSecond, cpuUs, p50Ms } of rows)
    console.log(line(name, String(perSecond), cpuUs.toFixed(1), p50Ms.toFixed(1)))
  const fast = batched.perSecond >= BAR_POSTINGS_PER_SECOND
  console.log(`
${mark(fast)} at least ${BAR_POSTINGS_PER_SECOND} durable postings/s in batches
${mark(kept)} all ${settled} are there after the server was killed, and the ledger sums to zero
`)
  const figures = {
    batchedPerSecond: batched.perSecond,
    batchedCpuUs: batched.cpuUs,
    singlePerSecond: single.perSecond,
    singleCpuUs: single.cpuUs,
    concurrentSinglesPerSecond: concurrent.perSecond,
    settled,
    survivedKill: kept,
  }
  console.log(JSON.stringify({ bench: 'ledger', pass: fast && kept, figures }))
  return fast && kept
}

function mark(ok: boolean): string {
  return ok ? '✓' : '✗'
}

function line(name: string, ...cells: string[]): string {
  return name.padEnd(28) + cells.map((cell) => cell.padStart(20)).join('')
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}
