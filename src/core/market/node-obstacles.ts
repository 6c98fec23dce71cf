/** Finds what keeps a group from running on a node: in the node itself and its terms, in its load, in its price. */
import { gpuMeets, vramGib, type Capacity, type Gpu } from '../protocol/capacity.ts'
import type { Group } from '../protocol/group.ts'
import { priceGroup, type Prices } from '../protocol/price-sheet.ts'
import type { GpuModel } from '../protocol/resources.ts'
import { hasAttribute, isVouched, type Attributes, type Audits } from './attributes.ts'
import { different, isNearer, tooLittle, type Obstacle } from './obstacle.ts'
import { fits, SUPPLIES, WHOLE_GPU_MILLI, type Need, type Room } from './room.ts'
import { amountsOf, gpuCountOf, type Way } from './ways.ts'

/** What the market knows of a node that does not change with its load. */
export type Terms = {
  readonly capacity: Capacity
  readonly attributes: Attributes
  readonly audits: Audits
  /** Null: the node asks a program of its provider's about each order. */
  readonly prices: Prices | null
}

/** What all copies of a group take, GPUs aside, and how many GPUs: reckoned once and held against every node. */
export type Asked = {
  readonly group: Group
  readonly amounts: Omit<Need, 'gpus'>
  readonly gpus: number
}

export const askedBy = (group: Group): Asked => ({
  group,
  amounts: amountsOf(group),
  gpus: gpuCountOf(group),
})

/** What stays in the way even when the node is idle. */
export const standingObstacles = (asked: Asked, terms: Terms): Obstacle[] => [
  ...termsObstacles(asked.group, terms),
  ...machineObstacles(asked, terms.capacity),
]

/** In what the node is and promises, however large it is. */
export function termsObstacles(group: Group, { attributes, audits, capacity }: Terms): Obstacle[] {
  const found: Obstacle[] = []
  const { anyOf, allOf } = group.signedBy
  if (anyOf.length + allOf.length === 0) {
    for (const [key, value] of Object.entries(group.attributes))
      if (!hasAttribute(attributes, key, value))
        found.push(different(`attribute ${key}`, attributes[key] ?? 'none', value))
  } else if (!isVouched(audits, group)) {
    const auditors = Object.keys(audits).join(', ') || 'nobody'
    found.push(different('signedBy', auditors, [...allOf, ...anyOf].join(', ')))
  }
  if (group.minNoticeS !== null && capacity.noticeS < group.minNoticeS)
    found.push(tooLittle('notice', capacity.noticeS, group.minNoticeS, 'seconds'))
  for (const { resources } of group.units)
    if (resources.cpuArch !== null && resources.cpuArch !== capacity.cpuArch)
      return [...found, different('CPU architecture', capacity.cpuArch, resources.cpuArch)]
  return found
}

/** Against all that the machine has, as if it were idle. */
function machineObstacles(asked: Asked, capacity: Capacity): Obstacle[] {
  const found: Obstacle[] = []
  const need = asked.amounts
  if (capacity.cpuMilli < need.cpuMilli)
    found.push(tooLittle('CPU', capacity.cpuMilli, need.cpuMilli, 'milli-cores'))
  if (capacity.memoryBytes < need.memoryBytes)
    found.push(tooLittle('memory', capacity.memoryBytes, need.memoryBytes, 'bytes'))
  for (const [at, have] of supplyOf(capacity).entries())
    if (have < (need.supplies[at] ?? 0)) found.push(supplyObstacle('', at, have, need))
  const gpu = gpuObstacle(asked, capacity)
  return gpu ? [...found, gpu] : found
}

function supplyObstacle(
  free: 'free ' | '',
  at: number,
  have: number,
  { supplies }: Pick<Need, 'supplies'>,
): Obstacle {
  const need = supplies[at] ?? 0
  const supply = SUPPLIES[at] ?? 'ephemeral'
  if (supply === 'ips') return tooLittle(`${free}IP addresses`, have, need)
  const name = supply === 'ephemeral' ? 'storage' : `persistent storage ${supply}`
  return tooLittle(free + name, have, need, 'bytes')
}

/** What the machine has of each of `SUPPLIES`. */
export function supplyOf(capacity: Capacity): number[] {
  return SUPPLIES.map((supply) => {
    if (supply === 'ephemeral') return capacity.ephemeralBytes
    if (supply === 'ips') return capacity.ips
    return capacity.persistent.find((one) => one.class === supply)?.bytes ?? 0
  })
}

function gpuObstacle({ group, gpus: wanted }: Asked, { gpus }: Capacity): Obstacle | null {
  if (wanted === 0) return null
  const total = gpus.reduce((sum, { count }) => sum + count, 0)
  if (total === 0) return tooLittle('GPUs', 0, wanted)
  for (const { resources, count } of group.units) {
    if (!resources.gpu) continue
    const { anyOf, units } = resources.gpu
    const suitable = gpus.filter((gpu) => anyOf.some((one) => gpuMeets(gpu, one)))
    if (suitable.length === 0) return nearestMiss(anyOf, gpus)
    const most = Math.max(...suitable.map((gpu) => gpu.count))
    if (most < units * count) return tooLittle('GPUs', most, units * count)
  }
  return total < wanted ? tooLittle('GPUs', total, wanted) : null
}

/** A GPU that is not as asked in one thing only tells more than one that differs in all. */
function nearestMiss(anyOf: readonly GpuModel[], gpus: readonly Gpu[]): Obstacle {
  const meeting = (loosened: Partial<GpuModel>): Gpu[] =>
    gpus.filter((gpu) => anyOf.some((one) => gpuMeets(gpu, { ...one, ...loosened })))
  const ofAnySize = meeting({ ramBytes: 0 })
  if (ofAnySize.length > 0) {
    const least = Math.min(...anyOf.map(({ ramBytes }) => ramBytes ?? 0))
    if (least === 0) return different('GPU', 'a slice of one', 'a whole one')
    const most = Math.max(...ofAnySize.map(({ vramBytes }) => vramBytes))
    return tooLittle('GPU memory', vramGib(most) * 2 ** 30, vramGib(least) * 2 ** 30, 'bytes')
  }
  const onAnyBus = meeting({ interface: null })
  if (onAnyBus.length > 0)
    return different(
      'GPU interface',
      list(onAnyBus.map((gpu) => gpu.interface ?? 'unknown')),
      list(anyOf.map((one) => one.interface ?? 'any')),
    )
  const wanted = anyOf.map(({ vendor, model }) => model ?? `any of ${vendor}`)
  return different('GPU model', list(gpus.map(({ model }) => model)), list(wanted))
}

const list = (names: readonly string[]): string => [...new Set(names)].join(' or ')

/**
 * What other leases hold already, for a group that could run here else; null when some way fits.
 * `ways`: those whose kinds of GPU the node has.
 */
export function busyObstacle(ways: readonly Way[], room: Room): Obstacle | null {
  const [first] = ways
  if (!first) return different('GPU', 'other kinds together', 'kinds that one node has')
  if (ways.some(({ need }) => fits(room, need))) return null
  const { need } = first
  if (room.cpuMilli < need.cpuMilli)
    return tooLittle('free CPU', room.cpuMilli, need.cpuMilli, 'milli-cores')
  if (room.memoryBytes < need.memoryBytes)
    return tooLittle('free memory', room.memoryBytes, need.memoryBytes, 'bytes')
  const at = need.supplies.findIndex((amount, supply) => amount > (room.supplies[supply] ?? 0))
  if (at >= 0) return supplyObstacle('free ', at, room.supplies[at] ?? 0, need)
  const wanted = need.gpus.reduce((sum, { units }) => sum + units, 0)
  return tooLittle('free GPUs', freeOfOneKind(ways, room), wanted)
}

function freeOfOneKind(ways: readonly Way[], room: Room): number {
  const kinds = new Set(ways.flatMap(({ need }) => need.gpus.map(({ kind }) => kind)))
  const free = room.gpus
    .filter(({ kind }) => kinds.has(kind))
    .map(({ freeMilli }) => freeMilli.filter((milli) => milli === WHOLE_GPU_MILLI).length)
  return Math.max(0, ...free)
}

/** When even the cheapest way is over the tenant's ceiling, or has no price; null when some way is not. */
export function priceObstacle(group: Group, ways: readonly Way[], prices: Prices): Obstacle | null {
  let nearest: Obstacle | null = null
  for (const { gpus } of ways) {
    const obstacle = priceObstacleOf(group, gpus, prices)
    if (!obstacle) return null
    if (!nearest || nearest.what === 'unpriced' || isNearer(obstacle, nearest)) nearest = obstacle
  }
  return nearest
}

function priceObstacleOf(
  group: Group,
  gpus: readonly (Gpu | null)[],
  prices: Prices,
): Obstacle | null {
  const price = priceGroup(prices, group, gpus)
  if ('unpriced' in price) return { what: 'unpriced', dimension: 'price of', need: price.unpriced }
  for (const [i, { maxRate }] of group.units.entries()) {
    const [asks, ceiling] = [price.unitRates[i] ?? 0n, BigInt(maxRate)]
    if (asks > ceiling) return { what: 'too dear', dimension: 'price', asks, ceiling }
  }
  return null
}
