/** What every choice needs to be dispatched, gathered once by `main.ts`. */
import type { Random } from '../../core/base/random.ts'
import type { Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Replica } from '../../core/routing/replica.ts'
import type { ReplicaTable } from '../../core/routing/replica-table.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import type { AttemptIds } from './attempt-id.ts'
import type { Attempt } from './attempt.ts'
import type { GatewayConfig } from './config.ts'
import type { Hedges } from './hedges.ts'
import type { Meter } from './meter.ts'
import type { ReceiptDesk } from './receipt-desk.ts'
import type { WaitingRoom } from './waiting-room.ts'
import type { Watch } from './watch.ts'

export type Dispatcher = {
  readonly config: GatewayConfig
  readonly table: ReplicaTable
  readonly room: WaitingRoom
  readonly meter: Meter
  readonly desk: ReceiptDesk
  readonly watch: Watch
  readonly attemptIds: AttemptIds
  readonly random: Random
  readonly now: () => Millis
  readonly linkOf: (replica: Replica) => NodeLink | undefined
  /** An attempt ended, however: its slot is free and whoever waits may try. */
  attemptOver(attempt: Attempt): void
  readonly hedges: Hedges
  /** A choice goes on after a break. */
  resumed(): void
  /** The refusal for a database that does not answer. */
  storeDown(error: unknown): Refusal
}
