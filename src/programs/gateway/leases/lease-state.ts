/** How a lease stands, from what its node says of its containers. */
import type { LeasePhase, LeaseState } from '../../../core/protocol/lease-control.ts'

/** `neverRan`: no container of it has run on this node. */
export function stateOf(phase: LeasePhase, neverRan: boolean): LeaseState {
  if (phase === 'running') return 'running'
  return neverRan && phase !== 'degraded' ? 'starting' : 'degraded'
}
