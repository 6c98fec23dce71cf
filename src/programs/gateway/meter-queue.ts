/**
 * Group commit: settlements wait together for a moment and become durable in one statement. Whatever happens to
 * the store, they stay here and go again until they are in it: the attempt's id makes each count once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Settlement, SettleOutcome, Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'

export type SettlementQueue = {
  push(settlement: Settlement): void
  /** Settlements that are not durable yet. */
  readonly backlog: number
  /** Resolves when all that was pushed before is durable (or refused by the store for good). */
  flush(): Promise<void>
  /** Flushes, at most until `signal`; what is not durable by then is left to the nodes, who hand it in again. */
  close(signal: AbortSignal): Promise<void>
}

export type SettlementQueueOptions = {
  readonly store: Pick<Store, 'settle'>
  readonly logger: Logger
  /** How long the first of a batch waits for others, at most. */
  readonly delayMs: Millis
  /** After the durable commit; or with null, when the store will never take it. */
  readonly onDone: (
    settlements: readonly Settlement[],
    outcomes: readonly SettleOutcome[] | null,
  ) => void
}

/** The store takes no more in one statement. */
const BATCH = 500
/** One batch is being written while the other is prepared; more would only wait for the same balances. */
const LANES = 2
const FIRST_RETRY_MS = 100
const MAX_RETRY_MS = 2_000

export function createSettlementQueue(options: SettlementQueueOptions): SettlementQueue {
  const { store, logger, delayMs, onDone } = options
  const stopped = new AbortController()
  const inFlight = new Set<{ readonly from: number }>()
  const flushes = new Set<{ readonly upTo: number; readonly resolve: () => void }>()
  let waiting: Settlement[] = []
  /** Counts of all that ever came in, and of all that ever went into a batch. */
  let pushed = 0
  let taken = 0
  let backlog = 0
  let timer: NodeJS.Timeout | null = null
  /** The first of the waiting has waited long enough: the next free lane takes it. */
  let due = false

  const becomeDue = (): void => {
    timer = null
    due = waiting.length > 0
    start()
  }

  function start(): void {
    while (inFlight.size < LANES && waiting.length > 0 && (due || waiting.length >= BATCH)) {
      const batch = waiting.length <= BATCH ? waiting : waiting.slice(0, BATCH)
      waiting = waiting.length <= BATCH ? [] : waiting.slice(BATCH)
      if (waiting.length === 0) due = false
      void write(batch)
    }
    if (waiting.length > 0 && !due) timer ??= setTimeout(becomeDue, delayMs)
  }

  async function write(batch: readonly Settlement[]): Promise<void> {
    const ticket = { from: taken }
    taken += batch.length
    inFlight.add(ticket)
    await commit(batch)
    inFlight.delete(ticket)
    if (stopped.signal.aborted) return
    const oldest = Math.min(taken, ...[...inFlight].map(({ from }) => from))
    for (const waiter of flushes) {
      if (oldest < waiter.upTo) continue
      flushes.delete(waiter)
      waiter.resolve()
    }
    start()
  }

  /** Until it is durable, or the end. A row that the store cannot take is found by halving, so that it stops no other. */
  async function commit(batch: readonly Settlement[]): Promise<void> {
    for (let tries = 0; !stopped.signal.aborted; tries++) {
      try {
        done(batch, await store.settle(batch))
        return
      } catch (error) {
        if (!(error instanceof Fault && error.retryable)) {
          await divide(batch, error)
          return
        }
        if (tries === 0) logger.warn('settlements wait for the store', { backlog, error })
      }
      await retryPause(tries)
    }
  }

  async function divide(batch: readonly Settlement[], error: unknown): Promise<void> {
    const [only] = batch
    if (batch.length === 1 && only) {
      logger.error('a settlement cannot be stored', { ...only.usage, error })
      done(batch, null)
      return
    }
    const middle = Math.ceil(batch.length / 2)
    await commit(batch.slice(0, middle))
    await commit(batch.slice(middle))
  }

  function done(batch: readonly Settlement[], outcomes: readonly SettleOutcome[] | null): void {
    backlog -= batch.length
    try {
      onDone(batch, outcomes)
    } catch (error) {
      logger.error('after settling', { error })
    }
  }

  async function retryPause(tries: number): Promise<void> {
    const ms = Math.min(FIRST_RETRY_MS * 2 ** tries, MAX_RETRY_MS) * (0.75 + Math.random() / 2)
    await sleep(ms, undefined, { signal: stopped.signal }).catch(() => {})
  }

  function flush(): Promise<void> {
    if (backlog === 0) return Promise.resolve()
    return new Promise((resolve) => {
      flushes.add({ upTo: pushed, resolve })
      if (timer) clearTimeout(timer)
      becomeDue()
    })
  }

  return {
    push(settlement) {
      waiting.push(settlement)
      pushed += 1
      backlog += 1
      if (waiting.length >= BATCH) start()
      else timer ??= setTimeout(becomeDue, delayMs)
    },
    get backlog() {
      return backlog
    },
    flush,
    async close(signal) {
      await Promise.race([flush(), aborted(signal)])
      stopped.abort()
      if (timer) clearTimeout(timer)
      if (backlog > 0) logger.warn('closed before all was settled', { backlog })
    },
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
