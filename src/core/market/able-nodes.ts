/** Who could run a group when idle, and for how much: for whom its secrets are sealed before anyone knows who will run it. */
import type { AttoUsdPerSecond } from '../base/rate.ts'
import type { Group } from '../protocol/group.ts'
import { exactBid } from './bids.ts'
import { askedBy, standingObstacles } from './node-obstacles.ts'
import type { NodeRecord } from './node-table.ts'
import { hasKinds } from './room.ts'
import type { Way } from './ways.ts'

/**
 * Cheapest first, and by name where they ask the same; last, by name, those whose program prices each order: what they
 * would ask is known only once they are asked. Looks at every node.
 */
export function ableNodes(
  group: Group,
  records: Iterable<NodeRecord>,
  ways: readonly Way[],
): string[] {
  const asked = askedBy(group)
  const ask = { group, rule: 'cheapest', images: [], exclude: NOBODY } as const
  const found: { readonly node: string; readonly total: AttoUsdPerSecond }[] = []
  const programs: string[] = []
  for (const record of records) {
    if (standingObstacles(asked, record).length > 0) continue
    const own = ways.filter(({ need }) => hasKinds(record.room, need))
    if (record.prices === null && own.length > 0) programs.push(record.node)
    const totals = own.flatMap((way) => exactBid(ask, record, way)?.total ?? [])
    const [total] = totals.toSorted(compare)
    if (total !== undefined) found.push({ node: record.node, total })
  }
  const priced = found
    .toSorted((a, b) => compare(a.total, b.total) || compare(a.node, b.node))
    .map(({ node }) => node)
  return [...priced, ...programs.toSorted(compare)]
}

const NOBODY: ReadonlySet<string> = new Set()

const compare = <T extends bigint | string>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0)
