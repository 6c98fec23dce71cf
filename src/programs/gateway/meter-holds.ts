/**
 * Looks after the holds of this gateway: renews those in use, gives back those at rest, and ends what others and
 * its own earlier lives left behind. Nothing here is urgent, so a store that is away only delays it.
 */
import { reasonOf } from '../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../core/base/time.ts'
import { runsLow } from '../../core/ledger/tranche.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import type { KeyBudgets } from './meter-budget.ts'
import type { Credit, OpenHold } from './meter-credit.ts'

export type HoldKeeper = {
  /** A hold that may or may not have been opened, and is not wanted any more. */
  close(id: string): void
  /** Gives back what this tenant's requests do not use just now, at the next tick. */
  rest(account: string): void
  recover(): void
  stop(): void
  /** All that is still open, at the end. */
  giveBack(signal: AbortSignal): Promise<void>
}

export type HoldKeeperParts = {
  readonly store: Pick<
    Store,
    'renewHolds' | 'closeHold' | 'expireHolds' | 'closeHoldsOf' | 'keySpending'
  >
  readonly gateway: string
  readonly now: () => Millis
  readonly logger: Logger
  readonly credits: Map<string, Credit>
  readonly budgets: KeyBudgets
  readonly trancheMs: Millis
  readonly tickMs: Millis
  readonly graceMs: Millis
}

/** Other gateways' clocks differ a little, and they renew after an outage before we end what is overdue. */
const OVERDUE_MS = 15 * SECOND
const EXPIRE_EVERY_TICKS = 10
const LEARN_EVERY_TICKS = 2

export function keepHolds(parts: HoldKeeperParts): HoldKeeper {
  const { store, gateway, now, logger, credits, budgets, trancheMs, tickMs, graceMs } = parts
  const startedAt = now()
  /** Given up here, but the store does not know yet. */
  const closing = new Set<string>()
  let recoverAt: Millis | null = null
  let ticks = 0
  let ticking = false
  const timer = setInterval(() => {
    if (ticking) return
    ticking = true
    void tick().finally(() => (ticking = false))
  }, tickMs)
  timer.unref()

  async function tick(): Promise<void> {
    ticks += 1
    try {
      await renew()
      giveUpResting()
      await close()
      if (recoverAt !== null && now() >= recoverAt) await closeEarlierLives()
      if (ticks % EXPIRE_EVERY_TICKS === 0) await store.expireHolds(now() - OVERDUE_MS)
      if (ticks % LEARN_EVERY_TICKS === 0) await learnSpending()
    } catch (error) {
      logger.debug('holds wait for the store', { reason: reasonOf(error) })
    }
  }

  /** In time for a second and a third try before the tranche ends. */
  async function renew(): Promise<void> {
    const soon = now() + trancheMs / 2
    const due = openHolds().filter((hold) => hold.expiresAt < soon && !hasRested(hold))
    if (due.length === 0) return
    const expiresAt = now() + trancheMs
    await store.renewHolds(
      due.map(({ id }) => id),
      expiresAt,
    )
    for (const hold of due) hold.expiresAt = expiresAt
  }

  const openHolds = (): OpenHold[] => [...credits.values()].flatMap((credit) => credit.holds)

  const hasRested = (hold: OpenHold): boolean =>
    hold.atRest && now() - hold.lastUsedAt > trancheMs / 2

  /** Those not used for a while, and rests of tranches that a newer one has taken over from. */
  function giveUpResting(): void {
    for (const [account, credit] of credits) {
      const newest = credit.holds.at(-1)
      const leftOver = (hold: OpenHold): boolean =>
        hold.atRest && (hold !== newest || runsLow(hold.tranche))
      giveUp(
        credit,
        credit.holds.filter((hold) => leftOver(hold) || hasRested(hold)),
      )
      if (credit.idle) credits.delete(account)
    }
  }

  function giveUp(credit: Credit, holds: readonly OpenHold[]): void {
    for (const hold of holds) {
      credit.drop(hold)
      closing.add(hold.id)
    }
  }

  async function close(signal?: AbortSignal): Promise<void> {
    for (const id of closing) {
      if (signal?.aborted) return
      await store.closeHold(id)
      closing.delete(id)
    }
  }

  async function closeEarlierLives(): Promise<void> {
    const holds = await store.closeHoldsOf(gateway, startedAt)
    recoverAt = null
    if (holds > 0) logger.info('holds of an earlier life given back', { holds })
  }

  async function learnSpending(): Promise<void> {
    const used = budgets.takeUsed()
    if (used.length > 0) budgets.learn(await store.keySpending(used))
  }

  return {
    close: (id) => closing.add(id),
    rest(account) {
      const credit = credits.get(account)
      if (credit)
        giveUp(
          credit,
          credit.holds.filter((hold) => hold.atRest),
        )
    },
    recover() {
      recoverAt = startedAt + graceMs
    },
    stop: () => clearInterval(timer),
    async giveBack(signal) {
      for (const credit of credits.values()) giveUp(credit, credit.holds.slice())
      try {
        await close(signal)
      } catch (error) {
        logger.warn('holds not given back; they end by themselves', {
          holds: closing.size,
          reason: reasonOf(error),
        })
      }
    },
  }
}
