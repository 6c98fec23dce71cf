/** What tenants ask of the snapshots of their volumes. */
import type { Readable } from 'node:stream'
import { Fault, isRefusal, reasonOf, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { LeaseRecord, StoredDeployment } from '../../../io/store/deployment-records.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'
import type { LeaseVolumes, Taking } from './lease-volumes.ts'
import { placesOf, type VolumePlace } from './volume-places.ts'

/** Transfers of one account at one gateway: each takes the line of a node, and memory here. */
export const MAX_TAKING_PER_ACCOUNT = 8

/** Null: any. */
export type VolumeWish = {
  readonly lease: string | null
  readonly service: string | null
  readonly replica: number | null
  readonly volume: string | null
}

/** A volume that a snapshot can be taken of. */
export type VolumeView = Omit<VolumePlace, 'bytes'> & { readonly lease: string }

export type SnapshotList = {
  readonly volumes: readonly VolumeView[]
  readonly snapshots: readonly SnapshotRecord[]
  /** Of all snapshots of the account. */
  readonly usedBytes: number
  readonly limitBytes: number
}

export type TenantSnapshots = {
  /** Newest first, those that are being taken or failed a moment ago too; also of a deployment that is closed. */
  snapshots(account: string, id: string): Promise<SnapshotList | Refusal>
  /** Begins one of each volume that is meant; they are ready later, or failed. */
  takeSnapshots(account: string, id: string, wish: VolumeWish): Promise<SnapshotRecord[] | Refusal>
  /** Its bytes, which break off rather than end where they are not what was written. */
  openSnapshot(
    account: string,
    id: string,
    snapshot: string,
  ): Promise<{ readonly snapshot: SnapshotRecord; readonly body: Readable } | Refusal>
  /** For ever. */
  removeSnapshot(account: string, id: string, snapshot: string): Promise<SnapshotRecord | Refusal>
}

export function serveSnapshots(parts: {
  readonly find: (account: string, id: string) => Promise<StoredDeployment | Refusal>
  readonly linkOf: (node: string) => NodeLink | undefined
  readonly volumes: LeaseVolumes
}): TenantSnapshots {
  const { find, linkOf, volumes } = parts
  const { store, now, limitBytes, objects } = volumes.parts

  const rowsOf = async ({ deployment }: StoredDeployment): Promise<SnapshotRecord[]> => {
    const rows = await store.snapshotsOf({ deployment: deployment.id }, now())
    const taking = new Map(volumes.taking.map(({ row, bytes }) => [row.id, bytes]))
    return rows.map((row) => ({ ...row, bytes: taking.get(row.id) ?? row.bytes }))
  }

  async function findOne(account: string, id: string, snapshot: string) {
    const stored = await find(account, id)
    if (isRefusal(stored)) return stored
    const rows = await rowsOf(stored)
    const why = `The deployment has no snapshot '${snapshot}'. 'baseload snapshot <deployment> --list' names those there are.`
    return rows.find((row) => row.id === snapshot) ?? refuse('not_found', why)
  }

  return {
    async snapshots(account, id) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const usedBytes = await store.snapshotBytes(account, now())
      const there = volumesOf(stored).map(({ lease: { id: lease }, place }) => {
        const { service, replica, volume } = place
        return { lease, service, replica, volume }
      })
      return { volumes: there, snapshots: await rowsOf(stored), usedBytes, limitBytes }
    },

    async takeSnapshots(account, id, wish) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const meant = meantBy(wish, stored)
      if (isRefusal(meant)) return meant
      const mine = volumes.taking.filter(({ row }) => row.account === account)
      if (mine.length + meant.length > MAX_TAKING_PER_ACCOUNT)
        return refuse(
          'concurrency_limit_exceeded',
          `${mine.length} snapshots of yours are being taken and ${meant.length} more are asked for; ${MAX_TAKING_PER_ACCOUNT} may be at once. Name a service, a replica or a volume, or wait.`,
          { retryAfterS: 5, details: { limit: MAX_TAKING_PER_ACCOUNT } },
        )
      if ((await store.snapshotBytes(account, now())) >= limitBytes) return full(limitBytes)
      const taken: SnapshotRecord[] = []
      for (const { lease, place } of meant) {
        const link = lease.node === null ? undefined : linkOf(lease.node)
        if (!link || lease.doc.startedAt === null)
          return refuse('lease_unreachable', `The lease is ${lease.state}: ${lease.doc.message}.`, {
            retryAfterS: 2,
          })
        taken.push(viewOf(await volumes.begin(link, lease, place)))
      }
      return taken
    },

    async openSnapshot(account, id, which) {
      const snapshot = await findOne(account, id, which)
      if (isRefusal(snapshot)) return snapshot
      if (snapshot.state !== 'ready') {
        const why = snapshot.state === 'taking' ? 'is being taken' : `failed: ${snapshot.problem}`
        return refuse(
          'conflict',
          `The snapshot ${which} ${why}. Take another, or ask for one that is ready.`,
        )
      }
      if (snapshot.place !== objects.place)
        return unavailable(`it is kept by ${snapshot.place}. Ask the gateway that took it`)
      try {
        const body = await volumes.open(snapshot)
        if (body) return { snapshot, body }
      } catch (error) {
        if (!(error instanceof Fault)) throw error
        if (error.code === 'store_unavailable') throw error
        return unavailable(`its store does not answer as it should: ${reasonOf(error)}`)
      }
      return refuse(
        'not_found',
        `The snapshot ${which} is gone from its store. Ask for an older one.`,
      )
    },

    async removeSnapshot(account, id, which) {
      const snapshot = await findOne(account, id, which)
      if (isRefusal(snapshot)) return snapshot
      const at = now()
      return (
        (await store.expireSnapshot(account, snapshot.id, at)) ?? { ...snapshot, expiresAt: at }
      )
    },
  }
}

type Meant = { readonly lease: LeaseRecord; readonly place: VolumePlace }

/** Of leases that are open. */
const volumesOf = ({ leases }: StoredDeployment): Meant[] =>
  leases
    .filter(({ state }) => state !== 'closed')
    .flatMap((lease) => placesOf(lease.doc).map((place) => ({ lease, place })))

/** The volumes that the words fit. */
function meantBy(wish: VolumeWish, stored: StoredDeployment): Meant[] | Refusal {
  const { deployment, leases } = stored
  if (leases.every(({ state }) => state === 'closed'))
    return refuse(
      'conflict',
      `${deployment.name} is closed: there is nothing to take a snapshot of.`,
    )
  const all = volumesOf(stored)
  if (all.length === 0)
    return refuse(
      'conflict',
      `${deployment.name} has no persistent volume. Give a service one: params.storage, and persistent: true.`,
    )
  const found = all.filter(
    ({ lease, place: { service, replica, volume } }) =>
      lease.id === (wish.lease ?? lease.id) &&
      service === (wish.service ?? service) &&
      replica === (wish.replica ?? replica) &&
      volume === (wish.volume ?? volume),
  )
  if (found.length > 0) return found
  const known = [...new Set(all.map(({ place }) => `${place.service} ${place.volume}`))]
  return refuse('not_found', `No persistent volume is called so. There are: ${known.join(', ')}.`, {
    param: wish.volume === null ? 'service' : 'volume',
  })
}

const viewOf = ({ row, bytes }: Taking): SnapshotRecord => ({
  ...row,
  bytes,
  state: 'taking',
  sha256: null,
  problem: null,
  expiresAt: null,
})

const unavailable = (why: string): Refusal =>
  refuse('snapshot_unavailable', `The snapshot cannot be read here: ${why}.`, { retryAfterS: 10 })

const full = (limitBytes: number): Refusal =>
  refuse(
    'snapshot_limit_exceeded',
    `Your snapshots take all of the ${limitBytes} bytes that they may. Remove some: 'baseload snapshot <deployment> --list', then --remove.`,
    { details: { limitBytes } },
  )
