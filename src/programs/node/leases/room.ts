/**
 * What a node can lease out, what a group takes of it, and the book of who has what. Nothing is sold twice: a lease
 * that changes hands or shape holds the larger of both until the old is gone.
 */
import assert from 'node:assert/strict'
import { gpuKey, gpuName, type Gpu } from '../../../core/protocol/capacity.ts'
import type { Group } from '../../../core/protocol/group.ts'
import { diskOf, memoryBytesOf } from '../../../core/protocol/price-sheet.ts'

/** Where a volume may lie: space for containers, or persistent storage of a class. */
export type Disk = ReturnType<typeof diskOf>
/** One file system. Several kinds of storage may come out of the same one. */
export type DiskPool = { readonly sells: readonly Disk[]; readonly bytes: number }
export type HostGpu = Gpu & {
  /** As in `nvidia.com/gpu=0`. */
  readonly cdi: string
}

export type HostRoom = {
  readonly cpuMilli: number
  readonly memoryBytes: number
  readonly disks: readonly DiskPool[]
  readonly gpus: readonly HostGpu[]
}

export type Amounts = {
  readonly cpuMilli: number
  readonly memoryBytes: number
  /** In the order of the host's pools. */
  readonly diskBytes: readonly number[]
}

/** One kind of GPU, and how many of it, for a unit with all its copies. */
export type GpuNeed = { readonly unit: number; readonly kind: Gpu; readonly count: number }
export type Need = Amounts & { readonly gpus: readonly GpuNeed[] }

/** Room that a lease has. Its identity is what is given back. */
export type Hold = Amounts & {
  readonly lease: string
  /** CDI names by the group's unit. */
  readonly gpus: ReadonlyMap<number, readonly string[]>
}

/** Why there is no room, with both numbers of each thing that is short: "memory 3.0 GiB free < 4.0 GiB asked". */
export type Shortage = { readonly short: string }

/** What all copies of all units take, when they run on these GPUs (in the group's order; null without). */
export function needOf(
  group: Group,
  gpus: readonly (Gpu | null)[],
  host: HostRoom,
): Need | Shortage {
  const diskBytes = host.disks.map(() => 0)
  const need = { cpuMilli: 0, memoryBytes: 0 }
  const wanted: GpuNeed[] = []
  for (const [i, { id, resources, count, endpoints }] of group.units.entries()) {
    need.cpuMilli += count * resources.cpuMilli
    need.memoryBytes += count * memoryBytesOf(resources)
    if (endpoints.leasedIp > 0) return { short: 'IP addresses 0 free < 1 asked' }
    for (const volume of resources.volumes) {
      if (volume.class === 'ram') continue
      const disk = diskOf(volume)
      const pool = host.disks.findIndex(({ sells }) => sells.includes(disk))
      if (pool < 0) return { short: `${diskName(disk)} is not offered` }
      diskBytes[pool] = (diskBytes[pool] ?? 0) + count * volume.bytes
    }
    const kind = gpus[i]
    if (resources.gpu !== null && kind)
      wanted.push({ unit: id, kind, count: count * resources.gpu.units })
  }
  return { ...need, diskBytes, gpus: wanted }
}

export const hasPersistent = ({ units }: Group): boolean =>
  units.some(({ resources }) => resources.volumes.some(({ persistent }) => persistent))

/** Of the same need, only what outlives the containers. */
export function keptNeedOf(group: Group, host: HostRoom): Need | Shortage {
  const units = group.units.map((unit) => ({
    ...unit,
    endpoints: { sharedHttp: 0, randomPort: 0, leasedIp: 0 },
    resources: {
      ...unit.resources,
      gpu: null,
      volumes: unit.resources.volumes.filter(({ persistent }) => persistent),
    },
  }))
  const need = needOf({ ...group, units }, [], host)
  return 'short' in need ? need : { ...need, cpuMilli: 0, memoryBytes: 0 }
}

export class RoomBook {
  readonly #host: HostRoom
  readonly #holds = new Map<string, Set<Hold>>()

  constructor(host: HostRoom) {
    this.#host = host
  }

  /** Never below 0, also when more was leased than a shrunken machine has. */
  get free(): Amounts & { readonly gpus: readonly HostGpu[] } {
    const free = this.#freeFor(null)
    return {
      cpuMilli: Math.max(0, free.cpuMilli),
      memoryBytes: Math.max(0, free.memoryBytes),
      diskBytes: free.diskBytes.map((bytes) => Math.max(0, bytes)),
      gpus: this.#freeGpus(null),
    }
  }

  /** Room for the lease; what it has already is room for it, too. */
  take(lease: string, need: Need): Hold | Shortage {
    const gpus = this.#chooseGpus(lease, need.gpus)
    const short = [...shortagesOf(this.#freeFor(lease), need, this.#host), ...gpus.short]
    if (short.length > 0) return { short: short.join('; ') }
    const { cpuMilli, memoryBytes, diskBytes } = need
    return this.#note({ lease, cpuMilli, memoryBytes, diskBytes, gpus: gpus.chosen })
  }

  /** Room that was given before a restart: what runs has it, whether or not there is enough now. */
  takeAgain(lease: string, need: Need, gpus: Hold['gpus']): Hold {
    const { cpuMilli, memoryBytes, diskBytes } = need
    return this.#note({ lease, cpuMilli, memoryBytes, diskBytes, gpus })
  }

  giveBack(hold: Hold): void {
    const holds = this.#holds.get(hold.lease)
    assert.ok(holds?.delete(hold), 'room is given back once')
    if (holds?.size === 0) this.#holds.delete(hold.lease)
  }

  #note(hold: Hold): Hold {
    const holds = this.#holds.get(hold.lease) ?? new Set()
    this.#holds.set(hold.lease, holds.add(hold))
    return hold
  }

  /** Free for one who has what this lease has; null: for a stranger. */
  #freeFor(lease: string | null): Amounts {
    const free = {
      cpuMilli: this.#host.cpuMilli,
      memoryBytes: this.#host.memoryBytes,
      diskBytes: this.#host.disks.map(({ bytes }) => bytes),
    }
    for (const [owner, holds] of this.#holds) {
      if (owner === lease) continue
      const most = largest([...holds])
      free.cpuMilli -= most.cpuMilli
      free.memoryBytes -= most.memoryBytes
      free.diskBytes = free.diskBytes.map((bytes, i) => bytes - (most.diskBytes[i] ?? 0))
    }
    return free
  }

  /** Its own come first, so that a lease that goes on keeps its GPUs. */
  #freeGpus(lease: string | null): HostGpu[] {
    const taken = new Set<string>()
    const own = new Set<string>()
    for (const [owner, holds] of this.#holds)
      for (const { gpus } of holds)
        for (const cdi of [...gpus.values()].flat()) (owner === lease ? own : taken).add(cdi)
    const free = this.#host.gpus.filter(({ cdi }) => !taken.has(cdi))
    return free.toSorted((a, b) => Number(own.has(b.cdi)) - Number(own.has(a.cdi)))
  }

  #chooseGpus(lease: string, needs: readonly GpuNeed[]) {
    const free = this.#freeGpus(lease)
    const chosen = new Map<number, string[]>()
    const short: string[] = []
    for (const { unit, kind, count } of needs) {
      const fitting = free.filter((gpu) => gpuKey(gpu) === gpuKey(kind))
      if (fitting.length < count)
        short.push(`GPU ${gpuName(kind)} ${fitting.length} free < ${count} asked`)
      const taken = fitting.slice(0, count)
      for (const gpu of taken) free.splice(free.indexOf(gpu), 1)
      chosen.set(
        unit,
        taken.map(({ cdi }) => cdi),
      )
    }
    return { chosen, short }
  }
}

/** What several holds of one lease take together: the most of each. */
const largest = (holds: readonly Hold[]): Amounts => ({
  cpuMilli: Math.max(...holds.map(({ cpuMilli }) => cpuMilli)),
  memoryBytes: Math.max(...holds.map(({ memoryBytes }) => memoryBytes)),
  diskBytes: (holds[0]?.diskBytes ?? []).map((_, i) =>
    Math.max(...holds.map(({ diskBytes }) => diskBytes[i] ?? 0)),
  ),
})

/** Whether so much is free, whoever asks: null, or what is short. GPUs are another question. */
export function shortageOf(free: Amounts, need: Amounts, host: HostRoom): string | null {
  const short = shortagesOf(free, need, host)
  return short.length === 0 ? null : short.join('; ')
}

function shortagesOf(free: Amounts, need: Amounts, { disks }: HostRoom): string[] {
  const rows: [string, number, number, (amount: number) => string][] = [
    ['CPU', free.cpuMilli, need.cpuMilli, threads],
    ['memory', free.memoryBytes, need.memoryBytes, gib],
    ...disks.map(({ sells }, i): (typeof rows)[number] => [
      sells.map(diskName).join(' + '),
      free.diskBytes[i] ?? 0,
      need.diskBytes[i] ?? 0,
      gib,
    ]),
  ]
  return rows
    .filter(([, has, asked]) => asked > 0 && asked > has)
    .map(([what, has, asked, say]) => `${what} ${say(Math.max(0, has))} free < ${say(asked)} asked`)
}

const diskName = (disk: Disk): string => (disk === 'ephemeral' ? 'disk' : `storage ${disk}`)
const threads = (milli: number): string => String(milli / 1000)

/** `3.0 GiB`; small amounts in MiB, so that "0.0 GiB < 0.0 GiB" is never said. */
export function gib(bytes: number): string {
  return bytes < 2 ** 30
    ? `${(bytes / 2 ** 20).toFixed(1)} MiB`
    : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}
