/** A lease's volumes: made, filled from a snapshot, exported, and removed or kept. */
import type { Readable } from 'node:stream'
import type { Container, VolumeInspectInfo } from 'dockerode'
import type { Context } from './context.ts'
import { ask, askIfThere, askLeniently } from './engine-socket.ts'
import { getFiles, putFiles } from './files.ts'
import type { ReplicaPlan, VolumePlan } from './lease-plan.ts'
import { hasLabels, LABEL, labelFilter, leaseLabels, volumeName } from './names.ts'
import type { LeaseSpec, VolumeTarget } from './runtime.ts'

/** Makes the replica's volumes that do not exist yet, and gives those. */
export async function ensureVolumes(context: Context, plan: ReplicaPlan): Promise<VolumePlan[]> {
  const made: VolumePlan[] = []
  for (const volume of plan.volumes) {
    const name = volumeName(context.instance, { ...plan.target, volume: volume.volume })
    const there = await askIfThere(
      `look for volume ${name}`,
      context.docker.getVolume(name).inspect(),
    )
    if (there !== null) continue
    const options = { Name: name, Labels: labelsOf(context, plan, volume) }
    await ask(`make volume ${name}`, context.docker.createVolume(options))
    made.push(volume)
  }
  return made
}

/** Fills new volumes before their container starts for the first time. */
export async function restoreVolumes(
  container: Container,
  { plan, made, restore }: { plan: ReplicaPlan; made: VolumePlan[]; restore: LeaseSpec['restore'] },
): Promise<void> {
  for (const { volume, path } of made) {
    const tar = (await restore?.({ ...plan.target, volume })) ?? null
    if (tar !== null) await putFiles(container, path, tar)
  }
}

/**
 * Through a container that mounts it and never runs: so the engine packs the files, and none of the tenant's links
 * leads anywhere else.
 */
export async function exportVolume(context: Context, target: VolumeTarget): Promise<Readable> {
  const { docker, instance } = context
  const name = volumeName(instance, target)
  const volume = await ask(`find volume ${name}`, docker.getVolume(name).inspect())
  const image = volume.Labels[LABEL.image] ?? ''
  const container = await ask(
    `open volume ${name}`,
    docker.createContainer({
      Image: image,
      Cmd: ['none'],
      Labels: { [LABEL.instance]: instance },
      HostConfig: {
        NetworkMode: 'none',
        Mounts: [{ Type: 'volume', Source: name, Target: MOUNTED_AT, ReadOnly: true }],
      },
    }),
  )
  const remove = () => askLeniently('close a volume', container.remove({ force: true }))
  try {
    const tar = await getFiles(container, `${MOUNTED_AT}/.`)
    tar.once('close', () => void remove().catch(() => {}))
    return tar
  } catch (thrown) {
    await remove()
    throw thrown
  }
}

const MOUNTED_AT = '/baseload-volume'

/** Of one lease; with `keepPersistent` only those that it may not keep. */
export async function removeVolumes(
  { docker, instance }: Context,
  lease: string,
  { keepPersistent }: { keepPersistent: boolean },
): Promise<void> {
  const labels = { [LABEL.instance]: instance, [LABEL.lease]: lease }
  const filters = JSON.stringify(labelFilter(labels))
  const { Volumes } = await ask('list volumes', docker.listVolumes({ filters }))
  const going = (Volumes ?? []).filter(
    (volume) => hasLabels(volume.Labels, labels) && !(keepPersistent && isPersistent(volume)),
  )
  await Promise.all(
    going.map(({ Name }) => askLeniently(`remove volume ${Name}`, docker.getVolume(Name).remove())),
  )
}

const isPersistent = ({ Labels }: VolumeInspectInfo): boolean => Labels[LABEL.persistent] === 'true'

function labelsOf(
  { instance }: Context,
  { target, epoch, service }: ReplicaPlan,
  { volume, bytes, persistent }: VolumePlan,
): Record<string, string> {
  return {
    ...leaseLabels(instance, target.lease, epoch),
    [LABEL.service]: target.service,
    [LABEL.replica]: String(target.replica),
    [LABEL.volume]: volume,
    [LABEL.volumeBytes]: String(bytes),
    [LABEL.persistent]: String(persistent),
    [LABEL.image]: service.image,
  }
}
