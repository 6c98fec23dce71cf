/** Nodes, groups and orders for the tests of this room. */
import { parseUsd } from '../base/money.ts'
import { MAX_RATE, rateOf } from '../base/rate.ts'
import type { Capacity } from '../protocol/capacity.ts'
import type { Group } from '../protocol/group.ts'
import type { PriceSheet } from '../protocol/price-sheet.ts'
import type { GpuModel, Resources } from '../protocol/resources.ts'
import type { Ask } from './auction.ts'
import type { NodeFacts } from './market.ts'

export const GIB = 2 ** 30

type Offered = Capacity['gpus'][number]

export const someGpus = (model: string, gib: number, count: number): Offered => ({
  vendor: 'nvidia',
  model,
  vramBytes: gib * GIB,
  interface: 'pcie',
  mig: null,
  count,
})

export const aCapacity = (more: Partial<Capacity> = {}): Capacity => ({
  runtime: 'docker/27.3.1',
  isolation: 'container',
  cpuArch: 'amd64',
  cpuMilli: 32_000,
  memoryBytes: 128 * GIB,
  ephemeralBytes: 500 * GIB,
  persistent: [],
  gpus: [],
  ips: 0,
  attributes: {},
  tier: 'community',
  region: 'eu-de',
  egress: { mbitPerSecond: 1000, gibPerMonth: null },
  cachedImages: [],
  noticeS: 3600,
  ...more,
})

export const aSheet = (more: Partial<PriceSheet> = {}): PriceSheet => ({
  per: 'hour',
  cpuThread: '0.01',
  memoryGiB: '0.002',
  storageGiB: { ephemeral: '0.0001', beta3: '0.0002' },
  gpu: { '*': '0.5' },
  port: '0.001',
  ip: '0.01',
  ...more,
})

export const someFacts = (
  node: string,
  more: Partial<Omit<NodeFacts, 'capacity'>> & { capacity?: Partial<Capacity> } = {},
): NodeFacts => ({
  node,
  provider: node,
  sheet: aSheet(),
  audits: {},
  survival: 0.9,
  ...more,
  capacity: aCapacity(more.capacity),
})

export const anyGpu = (more: Partial<GpuModel> = {}): GpuModel => ({
  vendor: 'nvidia',
  model: null,
  ramBytes: null,
  interface: null,
  ...more,
})

type Traits = {
  readonly cpuMilli?: number
  readonly memoryGiB?: number
  readonly arch?: string | null
  readonly gpu?: Resources['gpu']
  readonly volumes?: Resources['volumes']
  readonly count?: number
  readonly ips?: number
  readonly attributes?: Group['attributes']
  readonly signedBy?: Group['signedBy']
  readonly minNoticeS?: number | null
  /** USD an hour for one copy. */
  readonly ceiling?: string
}

export const aUnit = (traits: Traits = {}, id = 1): Group['units'][number] => ({
  id,
  resources: {
    cpuMilli: traits.cpuMilli ?? 4000,
    cpuArch: traits.arch ?? null,
    memoryBytes: (traits.memoryGiB ?? 8) * GIB,
    volumes: traits.volumes ?? [],
    gpu: traits.gpu ?? null,
  },
  count: traits.count ?? 1,
  endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: traits.ips ?? 0 },
  maxRate: String(traits.ceiling ? rateOf(parseUsd(traits.ceiling) ?? 0n, 'hour') : MAX_RATE),
})

export const aGroup = (traits: Traits = {}): Group => ({
  name: 'app',
  attributes: traits.attributes ?? {},
  signedBy: traits.signedBy ?? { anyOf: [], allOf: [] },
  units: [aUnit(traits)],
  minNoticeS: traits.minNoticeS ?? null,
})

export const anAsk = (group: Group, more: Partial<Omit<Ask, 'group'>> = {}): Ask => ({
  group,
  rule: 'cheapest',
  images: [],
  exclude: new Set(),
  ...more,
})
