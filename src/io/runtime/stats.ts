/** What a container uses now. */
import { z } from 'zod'
import { Fault } from '../../core/base/refusal.ts'
import type { Context } from './context.ts'
import { ask } from './engine-socket.ts'
import type { Stats } from './runtime.ts'

const count = z
  .number()
  .nullish()
  .transform((value) => value ?? 0)

const statsSchema = z.object({
  cpu_stats: z.object({ cpu_usage: z.object({ total_usage: count }) }),
  memory_stats: z.object({
    usage: count,
    limit: count,
    /** cgroup v1 and v2 name the page cache that can be dropped differently. */
    stats: z.object({ total_inactive_file: count, inactive_file: count }).nullish(),
  }),
  pids_stats: z.object({ current: count }).nullish(),
  networks: z.record(z.string(), z.object({ rx_bytes: count, tx_bytes: count })).nullish(),
})

export async function readStats({ docker }: Context, id: string): Promise<Stats> {
  // Docker would otherwise wait a second for a second sample.
  const once = { stream: false as const, 'one-shot': true }
  const answer = await ask('read stats', docker.getContainer(id).stats(once))
  const { data: raw } = statsSchema.safeParse(answer)
  if (raw === undefined)
    throw new Fault('not_running', 'There are no statistics of a container that does not run.')
  const { usage, limit, stats } = raw.memory_stats
  const links = Object.values(raw.networks ?? {})
  return {
    cpuNanos: BigInt(Math.round(raw.cpu_stats.cpu_usage.total_usage)),
    memoryBytes: Math.max(0, usage - (stats?.total_inactive_file || stats?.inactive_file || 0)),
    memoryLimitBytes: limit,
    pids: raw.pids_stats?.current ?? 0,
    receivedBytes: links.reduce((sum, link) => sum + link.rx_bytes, 0),
    sentBytes: links.reduce((sum, link) => sum + link.tx_bytes, 0),
  }
}
