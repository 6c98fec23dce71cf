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

/** What a container may write in one place, and where that is on this host. */
type Quota = {
  readonly watch: ReplicaWatch
  readonly volume: string | null
  readonly limitBytes: number
  /** Null: only the engine knows it. */
  readonly folder: string | null
}

async function lookAtDisk(context: Context, watches: readonly ReplicaWatch[]): Promise<void> {
  const running = watches.filter((watch) => watch.running)
  if (running.length === 0) return
  const quotas = [...running.map(rootQuota), ...(await volumeQuotas(context, running))]
  const used = await bytesIn(quotas.flatMap(({ folder }) => folder ?? []))
  const told = quotas.some(({ folder }) => folder === null) ? await bytesTold(context) : null
  const stopped = new Set<ReplicaWatch>()
  for (const { watch, volume, limitBytes, folder } of quotas) {
    const usedBytes = (folder === null ? told?.get(watch.id) : used.get(folder)) ?? 0
    if (usedBytes <= limitBytes || stopped.has(watch)) continue
    stopped.add(watch)
    context.tell({ type: 'disk.exceeded', ...watch.at, volume, usedBytes, limitBytes })
    await watch.stopForDisk()
  }
}

const rootQuota = (watch: ReplicaWatch): Quota => ({
  watch,
  volume: null,
  limitBytes: bytesOf(watch.labels[LABEL.diskBytes]),
  folder: watch.layer,
})

const sizesSchema = z.array(z.object({ Id: z.string(), SizeRw: z.number().nullish() }))

/** What the engine says, by container. It walks all of them one by one, and takes seconds for that under load. */
async function bytesTold({ docker, instance }: Context): Promise<Map<string, number>> {
  const filters = labelFilter({ [LABEL.instance]: instance })
  const list = await ask('measure containers', docker.listContainers({ size: true, filters }))
  return new Map(sizesSchema.parse(list).map(({ Id, SizeRw }) => [Id, SizeRw ?? 0]))
}

async function volumeQuotas(
  { docker, instance }: Context,
  running: readonly ReplicaWatch[],
): Promise<Quota[]> {
  const filters = JSON.stringify(labelFilter({ [LABEL.instance]: instance }))
  const { Volumes } = await ask('list volumes', docker.listVolumes({ filters }))
  return (Volumes ?? []).flatMap(({ Labels, Mountpoint: folder }) => {
    const watch = running.find(({ labels }) => SAME.every((name) => labels[name] === Labels[name]))
    const volume = Labels[LABEL.volume]
    if (watch === undefined || volume === undefined) return []
    return [{ watch, volume, limitBytes: bytesOf(Labels[LABEL.volumeBytes]), folder }]
  })
}

/** A volume is a container's when they agree in these. */
const SAME = [LABEL.instance, LABEL.lease, LABEL.service, LABEL.replica]

const bytesOf = (label: string | undefined): number =>
  label === undefined ? Number.POSITIVE_INFINITY : Number(label)

/** Blocks on disk, so that holes cost nothing. Files that vanish meanwhile make `du` complain and count on. */
function bytesIn(folders: readonly string[]): Promise<Map<string, number>> {
  const args = ['-s', '-x', '-l', '--block-size=1', '--', ...folders]
  return new Promise((resolve) => {
    execFile('du', args, (_error, stdout) => {
      const lines = stdout.split('\n').map((line) => line.split('\t'))
      resolve(new Map(lines.map(([bytes = '', folder = '']) => [folder, Number(bytes)])))
    })
  })
}
