/**
 * The meter: admits from memory, settles in batches. The hot path makes no query as long as the tenant's credit
 * tranche covers a request, and a database outage shorter than the tranche loses none.
 */
import type { NanoUsd } from '../../core/base/money.ts'
import { isRefusal, type Refusal } from '../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../core/base/time.ts'
import { TRANCHE_MS, TRANCHE_NANO_USD } from '../../core/ledger/tranche.ts'
import type { Settlement, SettleOutcome, Store, Usage } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { KeyBudgets, type MeteredKey } from './meter-budget.ts'
import { Credit, storeUnavailable, type OpenHold } from './meter-credit.ts'
import { keepHolds } from './meter-holds.ts'
import { createSettlementQueue } from './meter-queue.ts'

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
  /** What a tenant with too little should do instead of adding credit; null: nothing better. Default: never anything. */
  readonly short?: (account: string, have: NanoUsd, need: NanoUsd) => Refusal | null
  /** What is held for a tenant at a time, and for how long. Default $0.10 for 60 s. */
  readonly trancheNanoUsd?: NanoUsd
  readonly trancheMs?: Millis
  /** How long a settlement waits for others, at most. Default 100 ms. */
  readonly batchDelayMs?: Millis
  /** How long receipts of this gateway's earlier lives have, before what it held then is given back. Default 15 s. */
  readonly graceMs?: Millis
  /** How often holds are looked after. Default 1 s. */
  readonly tickMs?: Millis
  /** How long `close` waits for the store. Default 10 s. */
  readonly closeMs?: Millis
}

export type Meter = {
  /**
   * Sets the most a request can cost aside: at once from memory, or after a query when the tranche is dry.
   * Refuses with `insufficient_balance`, `key_budget_exceeded`, or `store_unavailable` when the tranche is dry
   * and the store away, or too much waits for it.
   */
  reserve(
    account: string,
    key: MeteredKey,
    ceilingNanoUsd: NanoUsd,
  ): Reservation | Refusal | Promise<Reservation | Refusal>
  /** Books an attempt that has no reservation (any more): a receipt that comes late. */
  settleLate(settlement: Settlement): void
  /** Settlements that are not durable yet. */
  readonly backlog: number
  /** Gives back what is held for this tenant and not used just now: somebody waits for it. */
  rest(account: string): void
  /** Gives back what earlier lives of this gateway held, after a grace for their late receipts. */
  recover(): void
  /** Resolves when all that was settled before this call is durable. */
  flush(): Promise<void>
  /** Flushes, gives the holds back, and stops. */
  close(): Promise<void>
}

/** About 100 MB of settlements with receipts: then nothing new is admitted until the store is back. */
const MAX_BACKLOG = 50_000

export function createMeter(options: MeterOptions): Meter {
  const { store, gateway, now, logger, onSettled } = options
  const trancheMs = options.trancheMs ?? TRANCHE_MS
  const budgets = new KeyBudgets()
  const credits = new Map<string, Credit>()
  const holds = new Map<string, OpenHold>()
  const queue = createSettlementQueue({
    store,
    logger,
    delayMs: options.batchDelayMs ?? 100,
    onDone(settlements, outcomes) {
      for (const { usage } of settlements) {
        const hold = usage.hold === null ? undefined : holds.get(usage.hold)
        if (hold) hold.pending -= 1
      }
      if (outcomes) onSettled(settlements, outcomes)
    },
  })
  const creditParts = {
    store,
    gateway,
    now,
    logger,
    trancheNanoUsd: options.trancheNanoUsd ?? TRANCHE_NANO_USD,
    trancheMs,
    opened: (hold: OpenHold) => holds.set(hold.id, hold),
    closed: (hold: OpenHold) => holds.delete(hold.id),
    lost: (id: string) => keeper.close(id),
    short: options.short ?? (() => null),
    flush: () => queue.flush(),
  }
  const keeper = keepHolds({
    store,
    gateway,
    now,
    logger,
    credits,
    budgets,
    trancheMs,
    tickMs: options.tickMs ?? SECOND,
    graceMs: options.graceMs ?? 15 * SECOND,
  })

  const creditOf = (account: string): Credit => {
    const known = credits.get(account)
    if (known) return known
    const credit = new Credit(account, creditParts)
    credits.set(account, credit)
    return credit
  }

  const parts = { queue, budgets, now }

  return {
    reserve(account, key, ceilingNanoUsd) {
      if (queue.backlog >= MAX_BACKLOG) return storeUnavailable()
      const refusal = budgets.reserve(key, ceilingNanoUsd)
      if (refusal) return refusal
      if (ceilingNanoUsd === 0n) return new Reserved(parts, null, key, 0n)
      const credit = creditOf(account)
      const hold = credit.take(ceilingNanoUsd)
      if (hold) return new Reserved(parts, hold, key, ceilingNanoUsd)
      return credit.wait(ceilingNanoUsd).then((answer) => {
        if (!isRefusal(answer)) return new Reserved(parts, answer, key, ceilingNanoUsd)
        budgets.release(key, ceilingNanoUsd)
        return answer
      })
    },
    settleLate(settlement) {
      budgets.spendLate(settlement.usage.apiKey, settlement.usage.nanoUsd)
      queue.push(settlement)
    },
    get backlog() {
      return queue.backlog
    },
    rest: (account) => keeper.rest(account),
    recover: () => keeper.recover(),
    flush: () => queue.flush(),
    async close() {
      const deadline = AbortSignal.timeout(options.closeMs ?? 10 * SECOND)
      keeper.stop()
      await queue.close(deadline)
      await keeper.giveBack(deadline)
    },
  }
}

type ReservedParts = {
  readonly queue: { push(settlement: Settlement): void }
  readonly budgets: KeyBudgets
  readonly now: () => Millis
}

/** A class, not closures: one is made for every request. */
class Reserved implements Reservation {
  readonly #parts: ReservedParts
  /** Null: the ceiling was zero. */
  readonly #hold: OpenHold | null
  readonly #key: MeteredKey
  #leftNanoUsd: NanoUsd

  constructor(
    parts: ReservedParts,
    hold: OpenHold | null,
    key: MeteredKey,
    ceilingNanoUsd: NanoUsd,
  ) {
    this.#parts = parts
    this.#hold = hold
    this.#key = key
    this.#leftNanoUsd = ceilingNanoUsd
  }

  settle(settlement: Settlement): void {
    const { queue, budgets, now } = this.#parts
    const { usage, receipt } = settlement
    const hold = this.#hold
    const before = this.#leftNanoUsd
    this.#leftNanoUsd = hold ? hold.spend(before, usage.nanoUsd, now()) : 0n
    budgets.spend(this.#key, before - this.#leftNanoUsd, usage.nanoUsd)
    if (hold) hold.pending += 1
    queue.push(hold ? { usage: withHold(usage, hold.id), receipt } : settlement)
  }

  close(): void {
    this.#hold?.release(this.#leftNanoUsd)
    this.#parts.budgets.release(this.#key, this.#leftNanoUsd)
    this.#leftNanoUsd = 0n
  }
}

/** Field by field: in Node 20 a spread with a member behind it gives each object a hidden class of its own. */
const withHold = (usage: Usage, hold: string): Usage => ({
  attempt: usage.attempt,
  request: usage.request,
  account: usage.account,
  apiKey: usage.apiKey,
  node: usage.node,
  model: usage.model,
  api: usage.api,
  billedInputTokens: usage.billedInputTokens,
  outputTokens: usage.outputTokens,
  nanoUsd: usage.nanoUsd,
  hold,
  startedAt: usage.startedAt,
  finishedAt: usage.finishedAt,
  witness: usage.witness,
})
