/** How a lease stands, read off its record and what its node says of its containers. */
import type { Millis } from '../../../core/base/time.ts'
import type { Gpu } from '../../../core/protocol/capacity.ts'
import { leaseSchema } from '../../../core/protocol/lease.ts'
import type { LeasePhase, LeaseState } from '../../../core/protocol/lease-control.ts'
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'

/** What it runs on by its signed terms, in the order of the group's units. */
export function gpusOf({ terms, group }: LeaseDoc): (Gpu | null)[] {
  const read = terms === null ? null : leaseSchema.safeParse(JSON.parse(terms))
  return group.units.map((_, i) => read?.data?.units[i]?.gpu ?? null)
}

/** `neverRan`: no container of it has run on this node. */
export function stateOf(phase: LeasePhase, neverRan: boolean): LeaseState {
  if (phase === 'running') return 'running'
  return neverRan && phase !== 'degraded' ? 'starting' : 'degraded'
}

/** Nodes that lost or failed it, and whose time of being left alone is not over. */
export const avoidedNow = ({ avoid }: LeaseDoc, now: Millis): Set<string> =>
  new Set(avoid.filter(({ until }) => until > now).map(({ node }) => node))
