/** For tests of leases: a machine with a little of everything, groups, manifests and the terms of a lease. */
import type { Gpu } from '../../../core/protocol/capacity.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { LeaseCommand } from '../../../core/protocol/lease-control.ts'
import { groupText, leaseText, type Lease } from '../../../core/protocol/lease.ts'
import type { Manifest } from '../../../core/protocol/manifest.ts'
import type { PriceSheet } from '../../../core/protocol/price-sheet.ts'
import { STORAGE_CLASSES } from '../../../core/protocol/resources.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import type { HostRoom } from './room.ts'

export const GIB = 2 ** 30
export const NOW = Date.parse('2027-03-01T12:00:00Z')
export const GATEWAY = 'gw_test'
export const LEASE = 'lease_1'

export const H100: Gpu = {
  vendor: 'nvidia',
  model: 'h100',
  vramBytes: 80 * GIB,
  interface: 'sxm',
  mig: null,
}

/** 4 CPU, 8 GiB, one disk of 100 GiB, two GPUs. */
export const HOST: HostRoom = {
  cpuMilli: 4000,
  memoryBytes: 8 * GIB,
  disks: [{ sells: ['ephemeral', 'default'], bytes: 100 * GIB }],
  gpus: [
    { ...H100, cdi: 'nvidia.com/gpu=0' },
    { ...H100, cdi: 'nvidia.com/gpu=1' },
  ],
}

export const SHEET: PriceSheet = {
  per: 'month',
  cpuThread: '1.5',
  memoryGiB: '0.8',
  storageGiB: { ephemeral: '0.02', default: '0.04' },
  gpu: { '*': '900' },
  port: '0.01',
  ip: '5',
}

export type Wish = {
  readonly cpuMilli?: number
  readonly memoryBytes?: number
  readonly count?: number
  readonly gpus?: number
  /** Class and bytes, beside 1 GiB for the container. */
  readonly volumes?: readonly (readonly [string, number])[]
  readonly maxRate?: string
}

export const groupOf = (wish: Wish = {}): Group => ({
  name: 'dc',
  attributes: {},
  signedBy: { anyOf: [], allOf: [] },
  units: [
    {
      id: 1,
      resources: {
        cpuMilli: wish.cpuMilli ?? 500,
        cpuArch: null,
        memoryBytes: wish.memoryBytes ?? GIB,
        volumes: [
          { name: 'root', bytes: wish.volumes ? GIB : 0, persistent: false, class: 'default' },
          ...(wish.volumes ?? []).map(([name, bytes]) => ({
            name,
            bytes,
            persistent: name !== 'ram',
            class: STORAGE_CLASSES.find((one) => one === name) ?? 'default',
          })),
        ],
        gpu: wish.gpus
          ? {
              units: wish.gpus,
              anyOf: [{ vendor: 'nvidia', model: null, ramBytes: null, interface: null }],
            }
          : null,
      },
      count: wish.count ?? 1,
      endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: 0 },
      maxRate: wish.maxRate ?? '1000000000000000',
    },
  ],
  minNoticeS: null,
})

export const manifestOf = (image = 'web:1', count = 1): Manifest => ({
  group: 'dc',
  services: [
    {
      name: 'web',
      image,
      command: null,
      args: null,
      env: ['SECRET=hush'],
      unit: 1,
      count,
      expose: [],
      mounts: [{ volume: 'default', path: '/data', readOnly: false }],
      credentials: null,
      permissions: [],
      tee: null,
    },
  ],
})

export function termsOf(group: Group, change: Partial<Lease> = {}): Lease {
  const units = group.units.map((unit) => ({
    unit: unit.id,
    gpu: unit.resources.gpu ? H100 : null,
    rate: unit.maxRate,
  }))
  const rate = group.units.reduce(
    (total, { count }, i) => total + BigInt(units[i]?.rate ?? 0) * BigInt(count),
    0n,
  )
  return {
    v: 1,
    id: LEASE,
    epoch: 1,
    deployment: 'dep_1',
    tenant: 'acct_1',
    node: 'node_test',
    gateway: GATEWAY,
    groupHash: sha256Hex(groupText(group)),
    units,
    rate: String(rate),
    noticeS: 0,
    issuedAtMs: NOW,
    acceptByMs: NOW + 10 * 60_000,
    ...change,
  }
}

export type Ask = Extract<LeaseCommand, { kind: 'ask' }>

export function askOf(wish: Wish = {}, change: Partial<Lease> = {}): Ask {
  const group = groupOf(wish)
  const lease = termsOf(group, change)
  return { kind: 'ask', lease: lease.id, epoch: lease.epoch, group, terms: leaseText(lease) }
}
