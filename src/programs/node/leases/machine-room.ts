/** What of this machine can be leased out, and how an offer tells it. */
import { statfs } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { formatUsd, parseUsd } from '../../../core/base/money.ts'
import { gpuKey, type Capacity, type FreeRoom } from '../../../core/protocol/capacity.ts'
import type { EngineFacts } from '../../../io/runtime/detect.ts'
import type { LeaseSettings } from './lease-settings.ts'
import { gib, type Disk, type HostGpu, type HostRoom, type RoomBook } from './room.ts'

export type Machine = {
  readonly threads: number
  readonly memoryBytes: number
  /** Free under the engine's data. */
  readonly diskBytes: number
  readonly gpus: readonly HostGpu[]
}

export async function measureMachine(
  dataFolder: string,
  gpus: readonly HostGpu[],
): Promise<Machine> {
  const { bavail, bsize } = await statfs(dataFolder)
  return {
    threads: availableParallelism(),
    memoryBytes: totalmem(),
    diskBytes: bavail * bsize,
    gpus,
  }
}

/** `usedBytes` of memory are this node's own. Processor time is shared by whoever needs it, so none is kept back for it. */
export function roomOf(
  machine: Machine,
  {
    leaseShare,
    leaseReserve,
    leaseStorageClasses,
  }: Pick<LeaseSettings, 'leaseShare' | 'leaseReserve' | 'leaseStorageClasses'>,
  usedBytes: number,
): HostRoom {
  const part = (whole: number) => whole * (1 - leaseReserve) * leaseShare
  return {
    cpuMilli: Math.floor(part(machine.threads * 1000)),
    memoryBytes: Math.max(0, Math.floor(part(machine.memoryBytes) - usedBytes)),
    disks: [
      { sells: ['ephemeral', ...leaseStorageClasses], bytes: Math.floor(part(machine.diskBytes)) },
    ],
    gpus: machine.gpus,
  }
}

export function capacityOf(
  room: HostRoom,
  facts: Pick<EngineFacts, 'engine' | 'version' | 'isolation' | 'architecture'>,
  settings: LeaseSettings & { readonly region: string | null },
): Capacity {
  const kinds = new Map<string, Capacity['gpus'][number]>()
  for (const { cdi: _, ...gpu } of room.gpus) {
    const count = kinds.get(gpuKey(gpu))?.count ?? 0
    kinds.set(gpuKey(gpu), { ...gpu, count: count + 1 })
  }
  const [disk] = room.disks
  const bytes = disk?.bytes ?? 0
  return {
    runtime: `${facts.engine}/${facts.version}`,
    isolation: facts.isolation === 'runsc' ? 'gvisor' : 'container',
    cpuArch: facts.architecture,
    cpuMilli: room.cpuMilli,
    memoryBytes: room.memoryBytes,
    ephemeralBytes: bytes,
    persistent: [...new Set(settings.leaseStorageClasses)].map((name) => ({
      class: name,
      bytes,
    })),
    gpus: [...kinds.values()],
    ips: 0,
    attributes: settings.leaseAttributes,
    tier: 'community',
    region: settings.region,
    egress: { mbitPerSecond: settings.leaseEgressMbit, gibPerMonth: null },
    cachedImages: [],
    noticeS: settings.leaseNoticeSeconds,
  }
}

/** What is free of the capacity that is offered. */
export const freeRoomOf = (
  free: RoomBook['free'],
  { disks }: Pick<HostRoom, 'disks'>,
  capacity: Pick<Capacity, 'persistent' | 'gpus'>,
): FreeRoom => {
  const bytesOf = (disk: Disk) =>
    free.diskBytes[disks.findIndex(({ sells }) => sells.includes(disk))] ?? 0
  return {
    cpuMilli: free.cpuMilli,
    memoryBytes: free.memoryBytes,
    ephemeralBytes: bytesOf('ephemeral'),
    persistentBytes: capacity.persistent.map((one) => bytesOf(one.class)),
    gpus: capacity.gpus.map(
      (kind) => free.gpus.filter((gpu) => gpuKey(gpu) === gpuKey(kind)).length,
    ),
  }
}

/** One line for the provider. */
export function roomWords(
  capacity: Capacity,
  { leasePrices: prices, pricingProgram }: Pick<LeaseSettings, 'leasePrices' | 'pricingProgram'>,
): string {
  const { cpuMilli, memoryBytes, ephemeralBytes, gpus, runtime } = capacity
  const count = gpus.reduce((sum, one) => sum + one.count, 0)
  const parts = [
    `${cpuMilli / 1000} CPU`,
    `${gib(memoryBytes)} memory`,
    `${gib(ephemeralBytes)} disk`,
    ...(count > 0 ? [`${count} GPU`] : []),
    runtime.replace('/', ' '),
    pricingProgram === null
      ? `$${formatUsd(parseUsd(prices.cpuThread) ?? 0n)} per CPU a ${prices.per}`
      : `priced by ${pricingProgram}`,
  ]
  return `offering leases: ${parts.join(', ')}`
}
