/** What a container uses, a line of JSON at a time. */
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Millis } from '../../../core/base/time.ts'
import type { ContainerStats } from '../../../core/protocol/tunnel.ts'
import type { Runtime, Stats, Target } from '../../../io/runtime/runtime.ts'

export type StatsSource = {
  readonly runtime: Pick<Runtime, 'stats'>
  readonly target: Target
  readonly everyMs: number
  readonly now: () => Millis
}

/** Until the gateway ends its direction, or breaks off. `first` has been read already. */
export async function carryStats(stream: Duplex, source: StatsSource, first: Stats): Promise<void> {
  const enough = new AbortController()
  const stop = () => enough.abort()
  stream.once('close', stop).once('end', stop).resume()
  await pipeline(statsLines(source, first, enough.signal), stream)
}

async function* statsLines(
  { runtime, target, everyMs, now }: StatsSource,
  first: Stats,
  signal: AbortSignal,
): AsyncGenerator<string, void, void> {
  let stats = first
  while (!signal.aborted) {
    yield `${JSON.stringify(lineOf(stats, now()))}\n`
    await sleep(everyMs, null, { signal }).catch(() => {})
    if (!signal.aborted) stats = await runtime.stats(target)
  }
}

const lineOf = (stats: Stats, atMs: Millis): ContainerStats => ({
  atMs,
  cpuNanos: String(stats.cpuNanos),
  memoryBytes: stats.memoryBytes,
  memoryLimitBytes: stats.memoryLimitBytes,
  pids: stats.pids,
  receivedBytes: stats.receivedBytes,
  sentBytes: stats.sentBytes,
})
