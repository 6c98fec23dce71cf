/** What the lease book is made of: the gateway's `core.ts` gives it these. */
import type { Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { LeaseFile } from './lease-file.ts'
import type { LeaseMarket } from './lease-market.ts'
import type { LeaseVolumes } from './lease-volumes.ts'

export type LeaseParts = {
  readonly store: Store
  readonly market: LeaseMarket
  readonly volumes: LeaseVolumes
  readonly gateway: string
  readonly linkOf: (node: string) => NodeLink | undefined
  readonly now: () => Millis
  readonly logger: Logger
  /** Something that a tenant may see has changed. */
  changed(lease: LeaseFile): void
  /** Another gateway has changed it since it was read. */
  stale(lease: LeaseFile): void
  /** At the gateway's end: nothing more is decided. */
  readonly signal: AbortSignal
  /** Resolves after so long, or at the gateway's end. */
  readonly pause: (ms: Millis) => Promise<void>
}
