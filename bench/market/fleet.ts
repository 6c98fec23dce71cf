/** A made-up market: providers with a machine or a hall full of them, and tenants who want what tenants want. */
import type { Random } from '../../src/core/base/random.ts'
import { parseUsd } from '../../src/core/base/money.ts'
import { rateOf } from '../../src/core/base/rate.ts'
import type { Ask, AuctionRule } from '../../src/core/market/auction.ts'
import type { NodeFacts } from '../../src/core/market/market.ts'
import { survival } from '../../src/core/market/survival.ts'
import type { Gpu } from '../../src/core/protocol/capacity.ts'
import type { Group } from '../../src/core/protocol/group.ts'
import type { GpuModel } from '../../src/core/protocol/resources.ts'

const GIB = 2 ** 30
const HOUR = 3_600_000

type Machine = {
  readonly gpu: Omit<Gpu, 'vendor' | 'mig'>
  readonly counts: readonly number[]
  readonly coresPerGpu: number
  /** USD an hour for one GPU: about what open marketplaces asked in 2026. */
  readonly usd: number
  /** How often such machines are met. */
  readonly weight: number
}

const machine = (
  model: string,
  gib: number,
  bus: 'pcie' | 'sxm',
  counts: readonly number[],
  coresPerGpu: number,
  usd: number,
  weight: number,
): Machine => ({
  gpu: { model, vramBytes: gib * GIB, interface: bus },
  counts,
  coresPerGpu,
  usd,
  weight,
})

const MACHINES: readonly Machine[] = [
  machine('h200', 141, 'sxm', [8], 24, 2.9, 2),
  machine('h100', 80, 'sxm', [8], 24, 2.2, 6),
  machine('h100', 80, 'pcie', [1, 2, 4], 16, 1.9, 3),
  machine('a100', 80, 'sxm', [4, 8], 16, 1.1, 6),
  machine('a100', 40, 'pcie', [1, 2, 4], 12, 0.8, 4),
  machine('l40s', 48, 'pcie', [2, 4, 8], 16, 0.65, 5),
  machine('a6000', 48, 'pcie', [1, 2, 4], 12, 0.45, 5),
  machine('rtx4090', 24, 'pcie', [1, 2, 4, 8], 12, 0.35, 20),
  machine('rtx3090', 24, 'pcie', [1, 2, 4, 8], 8, 0.18, 14),
  machine('rtx4080', 16, 'pcie', [1, 2], 12, 0.2, 8),
  machine('rtx3060', 12, 'pcie', [1, 2, 4], 8, 0.08, 8),
  machine('l4', 24, 'pcie', [1, 2, 4], 12, 0.3, 5),
  machine('a10', 24, 'pcie', [1, 2, 4], 12, 0.3, 4),
  machine('t4', 16, 'pcie', [2, 4], 24, 0.12, 6),
  machine('v100', 32, 'sxm', [4, 8], 10, 0.25, 4),
]
const REGIONS = ['eu-de', 'eu-fr', 'eu-nl', 'us-east', 'us-west', 'ap-jp', 'ap-sg']
const IMAGES = Array.from({ length: 50 }, (_, i) => `docker.io/library/image-${i}:1`)

type Provider = {
  readonly region: string
  /** Times the usual price. */
  readonly dearness: number
  readonly tier: 'vetted' | 'community'
  readonly noticeS: number
  readonly disk: boolean
}

/** Providers come one by one until there are enough nodes; one in ten owns half of them all. */
export function* fleet(nodes: number, random: Random): Generator<NodeFacts> {
  let made = 0
  for (let provider = 0; made < nodes; provider++) {
    const region = pick(REGIONS, random)
    const size = Math.min(nodes - made, Math.ceil(0.7 / (1 - random()) ** 0.8))
    const dearness = 0.7 + random()
    const tier = random() < 0.3 ? 'vetted' : 'community'
    const noticeS = random() < 0.5 ? 3600 : 86_400
    const disk = random() < 0.5
    const kinds = [weighted(MACHINES, random), weighted(MACHINES, random)]
    for (let i = 0; i < Math.min(size, 500) && made < nodes; i++, made++) {
      const kind = kinds[random() < 0.8 ? 0 : 1] ?? MACHINES[0]
      if (kind)
        yield aNode(`p${provider}`, made, kind, { region, dearness, tier, noticeS, disk }, random)
    }
  }
}

function aNode(
  provider: string,
  index: number,
  { gpu, counts, coresPerGpu, usd }: Machine,
  { region, dearness, tier, noticeS, disk }: Provider,
  random: Random,
): NodeFacts {
  const count = pick(counts, random)
  const { model, vramBytes, interface: bus } = gpu
  return {
    node: `node_${index}`,
    provider,
    capacity: {
      runtime: 'docker/27.3.1',
      isolation: 'container',
      cpuArch: 'amd64',
      cpuMilli: Math.max(8, count * coresPerGpu) * 1000,
      memoryBytes: Math.max(32, count * coresPerGpu * 4) * GIB,
      ephemeralBytes: 1000 * GIB,
      persistent: disk ? [{ class: 'beta3', bytes: 2000 * GIB }] : [],
      gpus: [{ vendor: 'nvidia', model, vramBytes, interface: bus, mig: null, count }],
      ips: 0,
      attributes: { organization: provider },
      tier,
      region,
      egress: { mbitPerSecond: 1000, gibPerMonth: null },
      cachedImages: IMAGES.filter(() => random() < 0.05),
      noticeS,
    },
    sheet: {
      per: 'hour',
      cpuThread: usdText(0.004 * dearness),
      memoryGiB: usdText(0.001 * dearness),
      storageGiB: { ephemeral: '0.00003', beta3: '0.00006' },
      gpu: { [model]: usdText(usd * dearness), '*': usdText(dearness) },
      port: '0.0001',
      ip: '0.005',
    },
    audits: {},
    survival: survival(random() * 300 * HOUR),
  }
}

/** What tenants ask for: mostly one GPU, a third tied to models, some without GPUs, few with eight. */
export function anAsk(random: Random): Ask {
  const gpu = aGpuWish(random)
  const units = gpu ? weighted(GPU_COUNTS, random).units : 0
  const cores = gpu ? units * pick([2, 4, 6, 8], random) : pick([1, 2, 4, 8, 16], random)
  const group: Group = {
    name: 'app',
    attributes: random() < 0.2 ? { region: pick(['eu-*', 'us-*', 'eu-de'], random) } : {},
    signedBy: { anyOf: [], allOf: [] },
    units: [
      {
        id: 1,
        resources: {
          cpuMilli: cores * 1000,
          cpuArch: null,
          memoryBytes: cores * pick([2, 4], random) * GIB,
          volumes: [
            { name: 'default', bytes: 20 * GIB, persistent: false, class: 'default' },
            ...(random() < 0.2 ? [DATA] : []),
          ],
          gpu: gpu && { units, anyOf: gpu },
        },
        count: 1,
        endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: 0 },
        maxRate: String(rateOf(parseUsd(String(5 * Math.max(units, 1))) ?? 0n, 'hour')),
      },
    ],
    minNoticeS: random() < 0.1 ? 7200 : null,
  }
  return { group, rule: aRule(random), images: [pick(IMAGES, random)], exclude: NOBODY }
}

const NOBODY: ReadonlySet<string> = new Set()
const DATA = { name: 'data', bytes: 50 * GIB, persistent: true, class: 'beta3' } as const
const GPU_COUNTS = [
  { units: 1, weight: 86 },
  { units: 2, weight: 8 },
  { units: 4, weight: 4 },
  { units: 8, weight: 2 },
]

function aGpuWish(random: Random): GpuModel[] | null {
  const any = { vendor: 'nvidia', model: null, ramBytes: null, interface: null }
  const chance = random()
  if (chance < 0.13) return null
  if (chance < 0.5) return [any]
  if (chance < 0.67) return [{ ...any, ramBytes: pick([16, 24, 40, 80], random) * GIB }]
  const { model } = weighted(MACHINES, random).gpu
  if (chance < 0.9) return [{ ...any, model }]
  return [
    { ...any, model },
    { ...any, model: weighted(MACHINES, random).gpu.model },
  ]
}

const aRule = (random: Random): AuctionRule => {
  const chance = random()
  return chance < 0.8 ? 'cheapest' : chance < 0.9 ? 'reliable' : 'fastest'
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}

function weighted<Item extends { readonly weight: number }>(
  items: readonly Item[],
  random: Random,
): Item {
  let left = random() * items.reduce((sum, { weight }) => sum + weight, 0)
  for (const item of items) if ((left -= item.weight) < 0) return item
  return pick(items, random)
}

const usdText = (usd: number): string => usd.toFixed(6)
