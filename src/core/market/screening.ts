/**
 * Screening: before any money, who can run a group, why the others cannot, and what would help. Looks at every node,
 * so it is for people who ask and for orders that nobody took, not for each order.
 */
import { formatUsd } from '../base/money.ts'
import { MAX_RATE, priceFor, type AttoUsdPerSecond } from '../base/rate.ts'
import type { Group, Unit } from '../protocol/group.ts'
import type { GpuModel } from '../protocol/resources.ts'
import { askedBy, busyObstacle, priceObstacle, standingObstacles } from './node-obstacles.ts'
import type { NodeRecord } from './node-table.ts'
import { isNearer, tellObstacle, type Obstacle } from './obstacle.ts'
import { hasKinds } from './room.ts'
import type { Way } from './ways.ts'

/** What screening asks of a market. */
export type Scene = {
  readonly records: Iterable<NodeRecord>
  readonly ways: (group: Group) => readonly Way[]
  /** The cheapest bid's rate; null when there is no bid. */
  readonly cheapest: (group: Group) => AttoUsdPerSecond | null
}

export type Screening = {
  readonly nodes: number
  readonly canRun: number
  /** Null when nobody can. */
  readonly cheapest: AttoUsdPerSecond | null
  /** What excludes most nodes first. A node with several obstacles counts under each. */
  readonly reasons: readonly Reason[]
  /** What would help most first. */
  readonly relaxations: readonly Relaxation[]
}

export type Reason = {
  readonly dimension: string
  readonly nodes: number
  /** The one that lacks least. */
  readonly nearest: Obstacle
  /** `4 of 9 nodes: GPU memory 24 GiB < 80 GiB`. */
  readonly text: string
}

export type Relaxation = {
  readonly dimension: string
  /** Nodes that only this keeps away. */
  readonly moreBids: number
  readonly cheapest: AttoUsdPerSecond | null
  /** `drop region: 7 more bids, −18 %`. */
  readonly text: string
}

type Tally = { nodes: number; nearest: Obstacle; readonly onlyThis: NodeRecord[] }

export function screenGroup(group: Group, scene: Scene): Screening {
  const asked = askedBy(group)
  const ways = scene.ways(group)
  const tallies = new Map<string, Tally>()
  let [nodes, canRun] = [0, 0]
  for (const record of scene.records) {
    nodes += 1
    const standing = standingObstacles(asked, record)
    const obstacles = standing.length > 0 ? standing : passingObstacles(group, ways, record)
    if (obstacles.length === 0) canRun += 1
    for (const obstacle of obstacles) count(tallies, obstacle, record, obstacles.length === 1)
  }
  const cheapest = scene.cheapest(group)
  const sorted = [...tallies].toSorted(([, a], [, b]) => b.nodes - a.nodes)
  const reasons = sorted.map(([dimension, tally]) => {
    const text = `${tally.nodes} of ${nodes} nodes: ${tellObstacle(tally.nearest)}`
    return { dimension, nodes: tally.nodes, nearest: tally.nearest, text }
  })
  const relaxations = sorted
    .flatMap(([dimension, tally]) => relaxation(group, dimension, tally, cheapest, scene) ?? [])
    .toSorted((a, b) => b.moreBids - a.moreBids)
  return { nodes, canRun, cheapest, reasons, relaxations }
}

/** What is only in the way now, or only at this price. A node that asks a program tells no price beforehand. */
function passingObstacles(group: Group, ways: readonly Way[], record: NodeRecord): Obstacle[] {
  const own = ways.filter(({ need }) => hasKinds(record.room, need))
  const busy = busyObstacle(own, record.room)
  const dear = record.prices && priceObstacle(group, own, record.prices)
  return [busy, dear].filter((obstacle) => obstacle !== null)
}

function count(
  tallies: Map<string, Tally>,
  obstacle: Obstacle,
  record: NodeRecord,
  isOnly: boolean,
): void {
  const tally = tallies.get(obstacle.dimension) ?? { nodes: 0, nearest: obstacle, onlyThis: [] }
  tallies.set(obstacle.dimension, tally)
  tally.nodes += 1
  if (isNearer(obstacle, tally.nearest)) tally.nearest = obstacle
  if (isOnly) tally.onlyThis.push(record)
}

/** Null when it cannot be dropped, or dropping it alone would bring nobody. */
function relaxation(
  group: Group,
  dimension: string,
  { onlyThis }: Tally,
  now: AttoUsdPerSecond | null,
  scene: Scene,
): Relaxation | null {
  const relaxed = relax(group, dimension)
  if (!relaxed || onlyThis.length === 0) return null
  const ways = scene.ways(relaxed)
  const asked = askedBy(relaxed)
  const moreBids = onlyThis.filter(
    (record) =>
      standingObstacles(asked, record).length === 0 &&
      passingObstacles(relaxed, ways, record).length === 0,
  ).length
  if (moreBids === 0) return null
  const cheapest = scene.cheapest(relaxed)
  const bids = `${moreBids} more ${moreBids === 1 ? 'bid' : 'bids'}`
  const verb = dimension === 'price' ? 'raise' : 'drop'
  const name = dimension.replace(/^attribute /, '')
  const text = `${verb} ${name}: ${bids}${tellPrice(cheapest, now)}`
  return { dimension, moreBids, cheapest, text }
}

function tellPrice(cheapest: AttoUsdPerSecond | null, now: AttoUsdPerSecond | null): string {
  if (cheapest === null) return ''
  if (now === null) return `, from $${formatUsd(priceFor(cheapest, 'hour'))}/h`
  const percent = Number(((cheapest - now) * 1000n) / (now === 0n ? 1n : now)) / 10
  return percent < 0 ? `, −${Math.round(-percent)} %` : ''
}

/** The group without this one demand; null where it is an amount that the work needs. */
function relax(group: Group, dimension: string): Group | null {
  if (dimension.startsWith('attribute ')) {
    const { [dimension.slice('attribute '.length)]: _dropped, ...attributes } = group.attributes
    return { ...group, attributes }
  }
  switch (dimension) {
    case 'signedBy':
      return { ...group, signedBy: { anyOf: [], allOf: [] } }
    case 'notice':
      return { ...group, minNoticeS: null }
    case 'price':
      return eachUnit(group, (unit) => ({ ...unit, maxRate: String(MAX_RATE) }))
    case 'CPU architecture':
      return eachUnit(group, (unit) => ({
        ...unit,
        resources: { ...unit.resources, cpuArch: null },
      }))
    case 'GPU model':
      return eachGpu(group, (one) => ({ ...one, model: null }))
    case 'GPU memory':
      return eachGpu(group, (one) => ({ ...one, ramBytes: null }))
    case 'GPU interface':
      return eachGpu(group, (one) => ({ ...one, interface: null }))
    default:
      return null
  }
}

const eachUnit = (group: Group, change: (unit: Unit) => Unit): Group => ({
  ...group,
  units: group.units.map(change),
})

const eachGpu = (group: Group, change: (wanted: GpuModel) => GpuModel): Group =>
  eachUnit(group, ({ resources, ...unit }) => ({
    ...unit,
    resources: {
      ...resources,
      gpu: resources.gpu && { ...resources.gpu, anyOf: resources.gpu.anyOf.map(change) },
    },
  }))
