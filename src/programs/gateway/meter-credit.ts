/**
 * The tranches of one tenant at this gateway. Requests reserve on what is open; when that runs low the next
 * tranche is fetched ahead, and when it is dry requests wait for it together.
 */
import { randomBytes } from 'node:crypto'
import { idFrom } from '../../core/base/id.ts'
import { formatUsd, type NanoUsd } from '../../core/base/money.ts'
import { Fault, refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  freeOf,
  lastCallMs,
  nextTrancheSize,
  openTranche,
  release,
  reserve,
  runsLow,
  spend,
  type Tranche,
} from '../../core/ledger/tranche.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'

/** A tranche and the hold in the store that backs it. */
export class OpenHold {
  readonly id: string
  tranche: Tranche
  expiresAt: Millis
  lastUsedAt: Millis
  /** Settlements that name this hold and are not durable yet: until they are, it must not be given back. */
  pending = 0

  constructor(id: string, heldNanoUsd: NanoUsd, expiresAt: Millis, now: Millis) {
    this.id = id
    this.tranche = openTranche(heldNanoUsd)
    this.expiresAt = expiresAt
    this.lastUsedAt = now
  }

  get atRest(): boolean {
    return this.tranche.reservedNanoUsd === 0n && this.pending === 0
  }

  /** Turns part of a reservation into cost; returns what is left of the reservation. */
  spend(leftNanoUsd: NanoUsd, costNanoUsd: NanoUsd, now: Millis): NanoUsd {
    const spending = spend(this.tranche, leftNanoUsd, costNanoUsd)
    this.tranche = spending.tranche
    this.lastUsedAt = now
    return spending.leftNanoUsd
  }

  release(leftNanoUsd: NanoUsd): void {
    if (leftNanoUsd > 0n) this.tranche = release(this.tranche, leftNanoUsd)
  }
}

export type CreditParts = {
  readonly store: Pick<Store, 'openHold' | 'closeHold'>
  readonly gateway: string
  readonly now: () => Millis
  readonly logger: Logger
  readonly trancheNanoUsd: NanoUsd
  readonly trancheMs: Millis
  readonly opened: (hold: OpenHold) => void
  readonly closed: (hold: OpenHold) => void
  /** The store did not say whether this hold was opened. */
  readonly lost: (id: string) => void
  /** What a tenant with too little should do instead of adding credit; null: nothing better. */
  readonly short: (account: string, have: NanoUsd, need: NanoUsd) => Refusal | null
  /** Resolves when everything settled so far is durable. */
  readonly flush: () => Promise<void>
}

type Waiter = {
  readonly ceilingNanoUsd: NanoUsd
  readonly resolve: (answer: OpenHold | Refusal) => void
}

/** After the store said that there is no more, tranches are not fetched ahead for so long. */
const POOR_MS = 2_000
const RETRY_AFTER_S = 2

export class Credit {
  readonly account: string
  /** Oldest first, so that rests are used up. Rarely more than two. */
  readonly holds: OpenHold[] = []
  readonly #parts: CreditParts
  #waiting: Waiter[] = []
  #opening = false
  #poorUntil: Millis = 0

  constructor(account: string, parts: CreditParts) {
    this.account = account
    this.#parts = parts
  }

  get idle(): boolean {
    return this.holds.length === 0 && this.#waiting.length === 0 && !this.#opening
  }

  /** The hold on which so much is reserved now; null when none has it free. */
  take(ceilingNanoUsd: NanoUsd): OpenHold | null {
    const now = this.#parts.now()
    for (const hold of this.holds) {
      if (now >= hold.expiresAt - lastCallMs(this.#parts.trancheMs)) continue
      const reserved = reserve(hold.tranche, ceilingNanoUsd)
      if (!reserved) continue
      hold.tranche = reserved
      hold.lastUsedAt = now
      if (!this.#opening && this.#runsLow()) void this.#open()
      return hold
    }
    return null
  }

  /** Whether the next tranche should be fetched ahead. */
  #runsLow(): boolean {
    const newest = this.holds.at(-1)
    return newest !== undefined && runsLow(newest.tranche) && this.#parts.now() >= this.#poorUntil
  }

  /** Waits, with all others who do, for the next tranche. */
  wait(ceilingNanoUsd: NanoUsd): Promise<OpenHold | Refusal> {
    return new Promise((resolve) => {
      this.#waiting.push({ ceilingNanoUsd, resolve })
      if (!this.#opening) void this.#open()
    })
  }

  /** One at a time for each tenant, until nobody waits and some is in store. */
  async #open(): Promise<void> {
    this.#opening = true
    try {
      do await this.#openOne()
      while (this.#waiting.length > 0 || this.#runsLow())
    } catch (error) {
      this.#refuseAll(error)
    } finally {
      this.#opening = false
    }
  }

  async #openOne(): Promise<void> {
    const waitingNanoUsd = this.#waiting.reduce(
      (sum, { ceilingNanoUsd }) => sum + ceilingNanoUsd,
      0n,
    )
    const size = nextTrancheSize({
      usualNanoUsd: this.#parts.trancheNanoUsd,
      waitingNanoUsd,
      busyNanoUsd: this.#busy(),
    })
    const refusal = await this.#openHold(size)
    if (refusal) await this.#openRest(refusal)
    this.#serve()
  }

  /** What running requests keep reserved or have just spent: a tenant that does more gets larger tranches. */
  #busy(): NanoUsd {
    return this.holds.reduce(
      (sum, { tranche }) => sum + tranche.reservedNanoUsd + tranche.spentNanoUsd,
      0n,
    )
  }

  /** The balance does not give a whole tranche: take exactly what those who wait need, as far as it goes. */
  async #openRest(refusal: Refusal): Promise<void> {
    this.#poorUntil = this.#parts.now() + POOR_MS
    this.#serve()
    if (this.#waiting.length === 0) return
    let have = availableIn(refusal)
    if (!this.#someoneFits(have) && (await this.#giveBackRests())) {
      const again = await this.#openHold(this.#waiting[0]?.ceilingNanoUsd ?? 0n)
      if (!again) return
      have = availableIn(again)
    }
    const needed = this.#refuseUnaffordable(have)
    const again = needed > 0n ? await this.#openHold(needed) : null
    // Another gateway was quicker with what there was.
    if (again) this.#refuseUnaffordable(availableIn(again))
  }

  #someoneFits(have: NanoUsd): boolean {
    return this.#waiting.some(({ ceilingNanoUsd }) => ceilingNanoUsd <= have)
  }

  /** Keeps those who can be served from `have`, in order of arrival, and returns the sum of what they need. */
  #refuseUnaffordable(have: NanoUsd): NanoUsd {
    const rest = this.holds.reduce((sum, { tranche }) => sum + freeOf(tranche), 0n)
    let needed = 0n
    const kept: Waiter[] = []
    for (const waiter of this.#waiting) {
      if (needed + waiter.ceilingNanoUsd <= have) {
        needed += waiter.ceilingNanoUsd
        kept.push(waiter)
      } else waiter.resolve(this.#short(have + rest, waiter.ceilingNanoUsd))
    }
    this.#waiting = kept
    return needed
  }

  #short(have: NanoUsd, need: NanoUsd): Refusal {
    return this.#parts.short(this.account, have, need) ?? insufficient(have, need)
  }

  /** Rests of tranches at rest go back to the balance, so that one sum can be made of them. */
  async #giveBackRests(): Promise<boolean> {
    if (!this.holds.some(({ tranche }) => freeOf(tranche) > 0n && tranche.reservedNanoUsd === 0n))
      return false
    await this.#parts.flush()
    const resting = this.holds.filter((hold) => hold.atRest)
    for (const hold of resting) this.drop(hold)
    for (const hold of resting) await this.#parts.store.closeHold(hold.id)
    return resting.length > 0
  }

  async #openHold(nanoUsd: NanoUsd): Promise<Refusal | null> {
    const { store, gateway, now, trancheMs, opened, lost } = this.#parts
    const hold = new OpenHold(idFrom('hold', randomBytes(15)), nanoUsd, now() + trancheMs, now())
    const { id, expiresAt } = hold
    try {
      const refusal = await store.openHold({
        id,
        account: this.account,
        nanoUsd,
        gateway,
        expiresAt,
      })
      if (refusal) return refusal
    } catch (error) {
      lost(id)
      throw error
    }
    this.holds.push(hold)
    opened(hold)
    return null
  }

  /** Forgets a hold: nothing is reserved on it any more. */
  drop(hold: OpenHold): void {
    this.holds.splice(this.holds.indexOf(hold), 1)
    this.#parts.closed(hold)
  }

  #serve(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const waiter of waiting) {
      const hold = this.take(waiter.ceilingNanoUsd)
      if (hold) waiter.resolve(hold)
      else this.#waiting.push(waiter)
    }
  }

  /** The store is away (or worse): the tranche was the last word. */
  #refuseAll(error: unknown): void {
    const waiting = this.#waiting
    this.#waiting = []
    const expected = error instanceof Fault && error.retryable
    const { logger } = this.#parts
    if (expected) logger.debug('no tranche', { account: this.account, error })
    else logger.error('no tranche', { account: this.account, error })
    for (const { resolve } of waiting) resolve(storeUnavailable())
  }
}

export const storeUnavailable = (): Refusal =>
  refuse(
    'store_unavailable',
    'The ledger cannot be reached, and what was set aside for this account is used up. Nothing was charged. ' +
      `Try again in ${RETRY_AFTER_S} seconds.`,
    { retryAfterS: RETRY_AFTER_S },
  )

/** What a refused hold says that there was. Any other refusal than for lack of money is a bug here. */
function availableIn(refusal: Refusal): NanoUsd {
  const { have } = refusal.details
  if (refusal.code !== 'insufficient_balance' || typeof have !== 'bigint')
    throw new Error(`unexpected refusal of a hold: ${refusal.message}`)
  return have
}

const insufficient = (have: NanoUsd, need: NanoUsd): Refusal =>
  refuse(
    'insufficient_balance',
    `This request could cost up to $${formatUsd(need)}, and the account has $${formatUsd(have)} available. ` +
      'Add credit, or lower max_tokens.',
    { details: { have, need } },
  )
