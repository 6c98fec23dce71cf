/**
 * Measures what leases write, and stops what wrote more than it leased. Quotas would be better, but ext4 under overlay2
 * has none: so a container may exceed its limit by what it writes between two looks.
 */
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { reasonOf } from '../../core/base/refusal.ts'
import type { Context } from './context.ts'
import { ask } from './engine-socket.ts'
import { LABEL, labelFilter } from './names.ts'
import type { ReplicaWatch } from './replica-watch.ts'

/** Walking large trees costs disk time: it may take at most a fifth of it. */
const WORK_SHARE = 5

/** Until the signal. `pauseMs` lies between two looks at least. */
export async function watchDisk(
  context: Context,
  watches: () => Iterable<ReplicaWatch>,
  { pauseMs, signal }: { pauseMs: number; signal: AbortSignal },
): Promise<void> {
  let tookMs = 0
  while (!signal.aborted) {
    await sleep(Math.max(pauseMs, tookMs * (WORK_SHARE - 1)), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    const beganMs = performance.now()
    try {
      await lookAtDisk(context, [...watches()])
    } catch (thrown) {
      context.tell({ type: 'watch.failed', reason: `disk use: ${reasonOf(thrown)}` })
    }
    tookMs = performance.now() - beganMs
  }
}

async function lookAtDisk(context: Context, watches: readonly ReplicaWatch[]): Promise<void> {
  const running = watches.filter((watch) => watch.running)
  if (running.length === 0) return
  const written = await bytesWritten(context)
  const limits = await volumeLimits(context, running)
  for (const watch of running) {
    const own = { volume: null, limitBytes: Number(watch.labels[LABEL.diskBytes] ?? Infinity) }
    const over = [{ ...own, usedBytes: written.get(watch.id) ?? 0 }, ...(limits.get(watch) ?? [])]
      .filter(({ usedBytes, limitBytes }) => usedBytes > limitBytes)
      .at(0)
    if (over === undefined) continue
    context.tell({ type: 'disk.exceeded', ...watch.at, ...over })
    await watch.stopForDisk()
  }
}

const sizesSchema = z.array(z.object({ Id: z.string(), SizeRw: z.number().nullish() }))

/** Outside of volumes, by container. */
async function bytesWritten({ docker, instance }: Context): Promise<Map<string, number>> {
  const list = await ask(
    'measure containers',
    docker.listContainers({ size: true, filters: labelFilter({ [LABEL.instance]: instance }) }),
  )
  return new Map(sizesSchema.parse(list).map(({ Id, SizeRw }) => [Id, SizeRw ?? 0]))
}

type VolumeUse = { volume: string; usedBytes: number; limitBytes: number }

async function volumeLimits(
  { docker, instance }: Context,
  running: readonly ReplicaWatch[],
): Promise<Map<ReplicaWatch, VolumeUse[]>> {
  const filters = JSON.stringify(labelFilter({ [LABEL.instance]: instance }))
  const { Volumes } = await ask('list volumes', docker.listVolumes({ filters }))
  const uses = new Map<ReplicaWatch, VolumeUse[]>()
  for (const { Labels, Mountpoint } of Volumes ?? []) {
    const watch = running.find(({ at }) => isOf(Labels, at))
    if (watch === undefined) continue
    const use = {
      volume: Labels[LABEL.volume] ?? '',
      limitBytes: Number(Labels[LABEL.volumeBytes] ?? Infinity),
      usedBytes: await bytesIn(Mountpoint),
    }
    uses.set(watch, [...(uses.get(watch) ?? []), use])
  }
  return uses
}

const isOf = (labels: Record<string, string>, at: ReplicaWatch['at']): boolean =>
  labels[LABEL.lease] === at.lease &&
  labels[LABEL.service] === at.service &&
  labels[LABEL.replica] === String(at.replica)

/** Blocks on disk, so that holes cost nothing. Files that vanish meanwhile make `du` complain and count on. */
function bytesIn(folder: string): Promise<number> {
  return new Promise((resolve) => {
    execFile('du', ['-s', '-x', '--block-size=1', folder], (_error, stdout) =>
      resolve(Number.parseInt(stdout, 10) || 0),
    )
  })
}
