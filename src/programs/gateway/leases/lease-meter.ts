/**
 * Bills leased time: every few seconds, until when each node was last heard, in one commit for all leases. Tells
 * tenants when their money runs low, and ends what cannot be paid after a grace.
 */
import {
  decidePurse,
  evolvePurse,
  type Funds,
  type PurseEvent,
} from '../../../core/market/deployment-life.ts'
import { formatUsd } from '../../../core/base/money.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, SECOND, type Millis } from '../../../core/base/time.ts'
import type { LeasePaid, LeasePayment } from '../../../io/store/deployment-records.ts'
import { MAX_LEASE_PAYMENTS } from '../../../io/store/lease-payments.ts'
import type { ActiveLease } from './active-lease.ts'
import { holdTargetOf } from './lease-dues.ts'
import type { LeaseParts } from './lease-parts.ts'

const BILL_MS = 5 * SECOND
export type LeaseMeter = {
  /** Bills now; for tests and the gateway's end. */
  bill(): Promise<void>
  close(): void
}

export function meterLeases(
  parts: Pick<LeaseParts, 'store' | 'now' | 'logger'>,
  leases: () => Iterable<ActiveLease>,
): LeaseMeter {
  const { store, now, logger } = parts
  let running: Promise<void> | null = null
  const timer = setInterval(() => void bill(), BILL_MS)
  timer.unref()

  function bill(): Promise<void> {
    running ??= billAll()
      .catch((error: unknown) => logger.warn('leases not billed', { error: reasonOf(error) }))
      .finally(() => (running = null))
    return running
  }

  async function billAll(): Promise<void> {
    const at = now()
    const due: { lease: ActiveLease; payment: LeasePayment }[] = []
    for (const lease of leases()) {
      const payment = lease.due(at)
      if (payment) due.push({ lease, payment })
    }
    for (let from = 0; from < due.length; from += MAX_LEASE_PAYMENTS) {
      const batch = due.slice(from, from + MAX_LEASE_PAYMENTS)
      const paid = await store.payLeases(batch.map(({ payment }) => payment))
      batch.forEach(({ lease, payment }, i) => {
        const outcome = paid[i]
        if (!outcome?.paid) return
        lease.paid(payment)
        judge(lease, outcome, at)
      })
    }
  }

  return { bill, close: () => clearInterval(timer) }
}

function judge(
  lease: ActiveLease,
  { heldNanoUsd, uncollectedNanoUsd }: LeasePaid,
  at: Millis,
): void {
  const { purse, rate } = lease.record.doc
  const setAsideNanoUsd = holdTargetOf(BigInt(rate))
  if (setAsideNanoUsd === 0n) return
  const leftNanoUsd = uncollectedNanoUsd > 0n ? -uncollectedNanoUsd : heldNanoUsd
  const event = decidePurse(purse, { setAsideNanoUsd, leftNanoUsd }, at)
  if (event === null) return
  lease.money(evolvePurse(event), event.type, wordsOf(event, at))
  if (event.type === 'money.over') void lease.close('the balance is used up', true)
}

function wordsOf(event: PurseEvent, at: Millis): string {
  switch (event.type) {
    case 'money.low':
      return `${leftOf(event)}, and the balance has no more`
    case 'money.restored':
      return leftOf(event)
    case 'money.out':
      return `the balance is used up; the lease ends in ${(event.endsAt - at) / MINUTE} minutes unless credit is added`
    case 'money.over':
      return 'no credit came; its volumes are kept for a day'
  }
}

const leftOf = ({ leftNanoUsd, setAsideNanoUsd }: Funds): string =>
  `$${formatUsd(leftNanoUsd)} is left of the $${formatUsd(setAsideNanoUsd)} set aside`
