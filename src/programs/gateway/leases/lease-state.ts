/** How a lease stands, read off its record and what its node says of its containers. */
import type { Millis } from '../../../core/base/time.ts'
import type { LeasePhase, LeaseState } from '../../../core/protocol/lease-control.ts'
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'

/** `neverRan`: no container of it has run on this node. */
export function stateOf(phase: LeasePhase, neverRan: boolean): LeaseState {
  if (phase === 'running') return 'running'
  return neverRan && phase !== 'degraded' ? 'starting' : 'degraded'
}

/** Nodes that lost or failed it, and whose time of being left alone is not over. */
export const avoidedNow = ({ avoid }: LeaseDoc, now: Millis): Set<string> =>
  new Set(avoid.filter(({ until }) => until > now).map(({ node }) => node))
