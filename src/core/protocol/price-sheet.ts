/**
 * A price sheet: what a provider asks, the way providers think: per CPU thread, GiB of memory, GiB of storage by
 * class, GPU by model, port and IP address, in USD a month or an hour. What is not on the sheet is not for sale.
 */
import { z } from 'zod'
import { NANO_PER_USD, parseUsd, type NanoUsd } from '../base/money.ts'
import { rateOf, type AttoUsdPerSecond } from '../base/rate.ts'
import { gpuMeets, vramGib, type Gpu } from './capacity.ts'
import type { Group, Unit } from './group.ts'
import type { Resources, StorageClass, Volume } from './resources.ts'

/** Every model on the market, each with its variants. */
export const MAX_GPU_RULES = 500

const MAX_PRICE: NanoUsd = 1_000_000n * NANO_PER_USD
const GIB = 2n ** 30n

const usd = z.string().refine(isPrice, { message: 'USD as a decimal from 0 to 1000000: 0.35' })
/** `model[/vram[/interface]]`, each with `*` as a glob: `h100`, `h100/80Gi/sxm`, `rtx40*`, `a100:1g.10gb`, `*`. */
const gpuRule = z.string().regex(/^[a-z0-9*._:-]{1,60}(\/[0-9a-zA-Z*]{1,12}(\/[a-z*]{1,10})?)?$/)

export const priceSheetSchema = z.strictObject({
  per: z.enum(['month', 'hour']),
  cpuThread: usd,
  memoryGiB: usd,
  storageGiB: z.strictObject({
    ephemeral: usd,
    default: usd.exactOptional(),
    beta1: usd.exactOptional(),
    beta2: usd.exactOptional(),
    beta3: usd.exactOptional(),
  }),
  /** Rule → price of one GPU. The rule with the most that is spelt out wins, so `*` is for all others. */
  gpu: z.record(gpuRule, usd).refine((rules) => Object.keys(rules).length <= MAX_GPU_RULES, {
    message: `at most ${MAX_GPU_RULES} GPU rules`,
  }),
  port: usd,
  ip: usd,
})
export type PriceSheet = z.infer<typeof priceSheetSchema>

/** What the sheet has no price for. */
export type Unpriced = { readonly unpriced: string }

export type GroupPrice = {
  /** One copy of each unit, in the group's order. */
  readonly unitRates: readonly AttoUsdPerSecond[]
  readonly total: AttoUsdPerSecond
}

/** A sheet ready to reckon with: read once, used for every order. */
export type Prices = {
  readonly per: PriceSheet['per']
  readonly cpuThread: NanoUsd
  readonly memoryGiB: NanoUsd
  readonly storageGiB: ReadonlyMap<string, NanoUsd>
  readonly port: NanoUsd
  readonly ip: NanoUsd
  /** Of one such GPU by the rule that spells out most; null when no rule has it. */
  readonly gpu: (gpu: Gpu) => NanoUsd | null
}

export function readPrices(sheet: PriceSheet): Prices {
  const rules = Object.entries(sheet.gpu).map(([rule, price]) => ({ rule, price: nanoOf(price) }))
  const storage = Object.entries(sheet.storageGiB).flatMap(([disk, price]): [string, NanoUsd][] =>
    price === undefined ? [] : [[disk, nanoOf(price)]],
  )
  // The market asks with the same few objects again and again.
  const known = new Map<Gpu, NanoUsd | null>()
  return {
    per: sheet.per,
    cpuThread: nanoOf(sheet.cpuThread),
    memoryGiB: nanoOf(sheet.memoryGiB),
    storageGiB: new Map(storage),
    port: nanoOf(sheet.port),
    ip: nanoOf(sheet.ip),
    gpu: (gpu) => {
      const price = known.get(gpu)
      if (price !== undefined) return price
      const found = bestRule(rules, gpu)?.price ?? null
      if (known.size < MAX_GPU_RULES) known.set(gpu, found)
      return found
    },
  }
}

/** The group's price when its units run on these GPUs, in the group's order; null for a unit without GPUs. */
export function priceGroup(
  prices: Prices,
  group: Group,
  gpus: readonly (Gpu | null)[],
): GroupPrice | Unpriced {
  const unitRates: AttoUsdPerSecond[] = []
  let total = 0n
  for (const [i, unit] of group.units.entries()) {
    const rate = priceUnit(prices, unit, gpus[i] ?? null)
    if (typeof rate !== 'bigint') return rate
    unitRates.push(rate)
    total += rate * BigInt(unit.count)
  }
  return { unitRates, total }
}

/** One copy of the unit. Each part is rounded down by less than an atto-dollar a second. */
function priceUnit(prices: Prices, unit: Unit, gpu: Gpu | null): AttoUsdPerSecond | Unpriced {
  const { resources, endpoints } = unit
  let rate = part(prices, prices.cpuThread, resources.cpuMilli, 1000n)
  rate += part(prices, prices.memoryGiB, memoryBytesOf(resources), GIB)
  for (const volume of resources.volumes) {
    if (volume.class === 'ram') continue
    const price = prices.storageGiB.get(diskOf(volume))
    if (price === undefined) return { unpriced: `storage class ${diskOf(volume)}` }
    rate += part(prices, price, volume.bytes, GIB)
  }
  rate += part(prices, prices.port, endpoints.randomPort, 1n)
  rate += part(prices, prices.ip, endpoints.leasedIp, 1n)
  if (!resources.gpu) return rate
  const each = gpu && prices.gpu(gpu)
  if (each === null) return { unpriced: `GPU ${gpu ? ruleName(gpu) : 'not chosen'}` }
  return rate + part(prices, each, resources.gpu.units, 1n)
}

const part = (prices: Prices, price: NanoUsd, amount: number, of: bigint): AttoUsdPerSecond =>
  price === 0n || amount === 0 ? 0n : rateOf(price * BigInt(amount), prices.per) / of

/** Memory and the RAM volumes beside it. */
export function memoryBytesOf(resources: Resources): number {
  let bytes = resources.memoryBytes
  for (const volume of resources.volumes) if (volume.class === 'ram') bytes += volume.bytes
  return bytes
}

/** Where a volume that is not of class `ram` lies. */
export const diskOf = (volume: Volume): 'ephemeral' | Exclude<StorageClass, 'ram'> =>
  volume.persistent && volume.class !== 'ram' ? volume.class : 'ephemeral'

type GpuRule = { readonly rule: string; readonly price: NanoUsd }

function bestRule(rules: readonly GpuRule[], gpu: Gpu): GpuRule | null {
  let best: GpuRule | null = null
  for (const one of rules)
    if (ruleCovers(one.rule, gpu) && (!best || goesBefore(one.rule, best.rule))) best = one
  return best
}

/** Rules that spell out as much can both match, as `h1*` and `*00`: then the first by name, whatever the order. */
function goesBefore(rule: string, other: string): boolean {
  const more = speltOut(rule) - speltOut(other)
  return more > 0 || (more === 0 && rule < other)
}

const ruleName = (gpu: Gpu): string => (gpu.mig === null ? gpu.model : `${gpu.model}:${gpu.mig}`)

function ruleCovers(rule: string, gpu: Gpu): boolean {
  const [model = '*', vram = '*', bus = '*'] = rule.split('/')
  const gib = `${vramGib(gpu.vramBytes)}Gi`
  return (
    globMatches(model, ruleName(gpu)) &&
    globMatches(vram, gib) &&
    globMatches(bus, gpu.interface ?? '')
  )
}

/** A whole segment spelt out weighs more than any part of one. */
function speltOut(rule: string): number {
  const segments = rule.split('/')
  const whole = segments.filter((segment) => !segment.includes('*')).length
  return whole * 1000 + rule.replaceAll(/[*/]/g, '').length
}

/** `*` stands for any characters, none included; all else for itself. Linear: no pattern can stall. */
export function globMatches(glob: string, text: string): boolean {
  const [first = '', ...rest] = glob.split('*')
  if (rest.length === 0) return glob === text
  const last = rest.pop() ?? ''
  if (!text.startsWith(first) || text.length < first.length + last.length) return false
  let at = first.length
  for (const middle of rest) {
    const found = text.indexOf(middle, at)
    if (found < 0) return false
    at = found + middle.length
  }
  return at + last.length <= text.length && text.endsWith(last)
}

/** Whether a unit may run on this GPU; true for a unit without GPUs and no GPU. */
export function gpuSuits(resources: Resources, gpu: Gpu | null): boolean {
  if (!resources.gpu) return gpu === null
  return gpu !== null && resources.gpu.anyOf.some((wanted) => gpuMeets(gpu, wanted))
}

function isPrice(text: string): boolean {
  const nano = parseUsd(text)
  return nano !== null && nano >= 0n && nano <= MAX_PRICE
}

function nanoOf(text: string): NanoUsd {
  const nano = parseUsd(text)
  if (nano === null) throw new TypeError(`'${text}' is not a price`)
  return nano
}
