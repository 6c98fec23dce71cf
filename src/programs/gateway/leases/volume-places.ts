/** The persistent volumes of a lease: of every copy of every service that mounts them. */
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'

export type VolumePlace = {
  readonly service: string
  readonly replica: number
  readonly volume: string
  /** What it may hold. */
  readonly bytes: number
}

export function placesOf({ group, manifest }: Pick<LeaseDoc, 'group' | 'manifest'>): VolumePlace[] {
  return manifest.services.flatMap(({ name: service, count, unit, mounts }) => {
    const volumes = group.units.find(({ id }) => id === unit)?.resources.volumes ?? []
    const kept = volumes.filter(
      ({ name, persistent }) => persistent && mounts.some(({ volume }) => volume === name),
    )
    return Array.from({ length: count }, (_, replica) =>
      kept.map(({ name: volume, bytes }) => ({ service, replica, volume, bytes })),
    ).flat()
  })
}

type Place = Omit<VolumePlace, 'bytes'>

export const isOf = (row: SnapshotRecord, { service, replica, volume }: Place): boolean =>
  row.service === service && row.replica === replica && row.volume === volume

/** `data of web/0`. */
export const placeText = ({ service, replica, volume }: Place): string =>
  `${volume} of ${service}/${replica}`
