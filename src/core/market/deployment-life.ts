/**
 * The life of a deployment: it is as open as its leases, and each lives by its money. Decided here are the warning when
 * four fifths are spent, the grace when all is, and the end after it; `lease-life.ts` makes it part of a lease's life.
 */
import type { NanoUsd } from '../base/money.ts'
import { DAY, MINUTE, type Millis } from '../base/time.ts'
import type { LeaseState } from '../protocol/lease-control.ts'

/** What runs on without money is at the operator's cost: time enough to top up, not more. */
export const GRACE_MS: Millis = 5 * MINUTE
/** What a tenant who ran out of money finds again: its volumes. */
export const DATA_KEPT_MS: Millis = DAY
/** The warning comes when no more than a fifth is left. */
const LOW_SHARE = 5n

/** It is over with its last lease. */
export const deploymentIsOver = (leases: readonly { readonly state: LeaseState }[]): boolean =>
  leases.every(({ state }) => state === 'closed')

export type Purse =
  | { readonly status: 'good' }
  | { readonly status: 'low' }
  /** Since when nothing is left. */
  | { readonly status: 'empty'; readonly since: Millis }
  /** Its leases are told to end; money that comes now opens nothing again. */
  | { readonly status: 'over' }

/** What was set aside for it, and what of that is not spent: negative when it owes. */
export type Funds = { readonly setAsideNanoUsd: NanoUsd; readonly leftNanoUsd: NanoUsd }

export type PurseEvent =
  | ({ readonly type: 'money.low' } & Funds)
  | { readonly type: 'money.out'; readonly at: Millis; readonly endsAt: Millis }
  | ({ readonly type: 'money.restored' } & Funds)
  | { readonly type: 'money.over'; readonly dataKeptUntil: Millis }

export const NEW_PURSE: Purse = { status: 'good' }

/** What a look at the money brings about; null when nothing is new. */
export function decidePurse(purse: Purse, funds: Funds, now: Millis): PurseEvent | null {
  if (purse.status === 'over') return null
  const { setAsideNanoUsd, leftNanoUsd } = funds
  if (leftNanoUsd <= 0n) {
    if (purse.status !== 'empty') return { type: 'money.out', at: now, endsAt: now + GRACE_MS }
    const isOver = now - purse.since >= GRACE_MS
    return isOver ? { type: 'money.over', dataKeptUntil: now + DATA_KEPT_MS } : null
  }
  const isLow = leftNanoUsd * LOW_SHARE <= setAsideNanoUsd
  if (!isLow) return purse.status === 'good' ? null : { type: 'money.restored', ...funds }
  return purse.status === 'low' ? null : { type: 'money.low', ...funds }
}

export function evolvePurse(event: PurseEvent): Purse {
  switch (event.type) {
    case 'money.low':
      return { status: 'low' }
    case 'money.out':
      return { status: 'empty', since: event.at }
    case 'money.restored':
      return { status: 'good' }
    case 'money.over':
      return { status: 'over' }
  }
}
