/**
 * The meter: admits from memory, settles in batches. The hot path makes no query as long as the tenant's
 * credit tranche covers a request.
 */
import type { NanoUsd } from '../../core/base/money.ts'
import type { Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Settlement, SettleOutcome, Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'

/** What the meter needs of an API key: `ApiKey` fits. */
export type MeteredKey = {
  readonly id: string
  readonly budgetNanoUsd: NanoUsd | null
  readonly spentNanoUsd: NanoUsd
}

export type Reservation = {
  /** Books one attempt; `usage.hold` is filled in. Several attempts may draw on one reservation. */
  settle(settlement: Settlement): void
  /** Gives back what was not spent. Closing twice is fine; nothing may be settled afterwards. */
  close(): void
}

export type MeterOptions = {
  readonly store: Store
  readonly gateway: string
  readonly now: () => Millis
  readonly logger: Logger
  /** Called after the durable commit, never before: now nodes may be told to forget their receipts. */
  readonly onSettled: (
    settlements: readonly Settlement[],
    outcomes: readonly SettleOutcome[],
  ) => void
}

export type Meter = {
  /** Sets the most a request can cost aside: at once from memory, or after a query when the tranche is dry. */
  reserve(
    account: string,
    key: MeteredKey,
    ceilingNanoUsd: NanoUsd,
  ): Reservation | Refusal | Promise<Reservation | Refusal>
  /** Books an attempt that has no reservation (any more): a receipt that comes late. */
  settleLate(settlement: Settlement): void
  /** Settlements that are not durable yet. */
  readonly backlog: number
  /** Gives back what earlier lives of this gateway held, after a grace for their late receipts. */
  recover(): void
  /** Resolves when all that was settled before this call is durable. */
  flush(): Promise<void>
  /** Flushes, gives the holds back, and stops. */
  close(): Promise<void>
}

export function createMeter(options: MeterOptions): Meter {
  throw new Error(`the meter of ${options.gateway} comes with the next commit`)
}
