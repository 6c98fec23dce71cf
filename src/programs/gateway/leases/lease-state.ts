/** How a lease stands, read off its record and what its node says of its containers. */
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import type { LeasePhase, LeaseState } from '../../../core/protocol/lease-control.ts'
import type { LeaseDoc } from '../../../io/store/deployment-records.ts'

/** `neverRan`: no container of it has run on this node. */
export function stateOf(phase: LeasePhase, neverRan: boolean): LeaseState {
  if (phase === 'running') return 'running'
  return neverRan && phase !== 'degraded' ? 'starting' : 'degraded'
}

/** A node that lost or refused a lease is not asked again so soon. */
const AVOID_MS = 5 * MINUTE

/** Its node has it no more. */
export function afterLoss(doc: LeaseDoc, node: string | null, now: Millis): LeaseDoc {
  const avoid = doc.avoid.filter(({ until }) => until > now)
  if (node !== null) avoid.push({ node, until: now + AVOID_MS })
  return { ...doc, ownerEpoch: null, startedAt: null, replicas: [], avoid }
}

/** Nodes that lost or failed it, and whose time of being left alone is not over. */
export const avoidedNow = ({ avoid }: LeaseDoc, now: Millis): Set<string> =>
  new Set(avoid.filter(({ until }) => until > now).map(({ node }) => node))
