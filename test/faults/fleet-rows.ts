/** What rows over a live fleet have in common: a network, the books at its end, a line about the load. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom, type Random } from '../../src/core/base/random.ts'
import { checkAllBills, checkBills, checkLedger } from '../support/books.ts'
import { quantile, type LoadResult } from '../support/fleet/load.ts'
import {
  programNetwork,
  type NodeProcess,
  type ProgramNetwork,
} from '../support/network-of-programs.ts'
import { ownPostgres } from '../support/own-postgres.ts'
import { occasionOf, type RowContext } from './row.ts'

/** About 3 s an answer at most, as the scorecard's 5 s allow. */
export const TOKENS = [10, 60] as const
export const PACE_MS = 50
export const SLOTS = 16

export type FleetOptions = Partial<Parameters<typeof programNetwork>[1]> & { nodes: number }

/** Over a PostgreSQL of the row's own, unless told otherwise. */
export async function startFleet(
  context: RowContext,
  options: FleetOptions,
): Promise<{ network: ProgramNetwork; random: Random }> {
  const occasion = occasionOf(context)
  const databaseUrl = options.databaseUrl ?? (await ownPostgres(occasion)).url
  const network = await programNetwork(occasion, {
    fake: { paceMs: PACE_MS, slots: SLOTS },
    ...options,
    databaseUrl,
  })
  context.tell(`${network.nodes.length} fake nodes are linked`)
  return { network, random: seededRandom(context.seed) }
}

/** Runs `disturb` again and again until told to stop. */
export function disturbing(signal: AbortSignal, disturb: () => Promise<void>) {
  const over = new AbortController()
  const running = (async () => {
    while (!over.signal.aborted && !signal.aborted) await disturb()
  })()
  return async (): Promise<void> => {
    over.abort()
    await running
  }
}

/** SIGKILL and start again; done when it is linked again. */
export async function killNode({ program }: NodeProcess): Promise<void> {
  await program.kill('SIGKILL')
  await program.start()
  await program.says(/linked to gateway/)
}

/**
 * Ends the gateways and holds the ledger against the answers. `all`: there were no others, so nothing else may have
 * been paid. Returns null, or what is wrong.
 */
export async function booksOf(
  network: ProgramNetwork,
  { answers }: LoadResult,
  { all }: { all: boolean },
): Promise<string | null> {
  // A gateway that leaves pays on its own word what no receipt came for.
  for (const { program } of network.gateways) await program.kill('SIGTERM')
  try {
    const paid = await checkLedger(network)
    if (all) checkAllBills(answers, paid)
    else checkBills(answers, paid)
    return null
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  }
}

/** The failures by reason, the first few. */
export function reasonsOf({ failures }: LoadResult): string {
  const counts = new Map<string, number>()
  for (const { reason } of failures) {
    const short = reason.replace(/\s+/g, ' ').slice(0, 160)
    counts.set(short, (counts.get(short) ?? 0) + 1)
  }
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([reason, n]) => `${n} × ${reason}`)
    .join('; ')
}

/** "0 of 900 failed, 120 carried on elsewhere; p50 1.6 s, p99 3.9 s; books right". */
export function summary(load: LoadResult, wrong: string | null): string {
  const { n, failures, samples } = load
  const moved = samples.filter(({ attempts }) => attempts > 1).length
  const times = samples.map(({ totalMs }) => totalMs / 1000)
  return (
    `${failures.length} of ${n} failed${failures.length > 0 ? ` (${reasonsOf(load)})` : ''}, ${moved} carried on elsewhere; ` +
    `p50 ${quantile(times, 0.5).toFixed(1)} s, p99 ${quantile(times, 0.99).toFixed(1)} s; ` +
    (wrong === null ? 'books right' : `BOOKS WRONG: ${wrong}`)
  )
}

export function pick<T>(of: readonly T[], random: Random): T {
  const picked = of[Math.floor(random() * of.length)]
  assert.ok(picked !== undefined, 'there is something to pick')
  return picked
}

export const seconds = (count: number, signal: AbortSignal): Promise<void> =>
  sleep(count * 1000, undefined, { signal })
