/**
 * Bills leased time: every few seconds, until when each node was last heard, in one commit for all leases. What is left
 * then is each lease's own to judge.
 */
import type { Funds } from '../../../core/market/deployment-life.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { SECOND } from '../../../core/base/time.ts'
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
        const funds = fundsOf(lease, outcome)
        if (funds) lease.bill(funds)
      })
    }
  }

  return { bill, close: () => clearInterval(timer) }
}

/** Of its hour; less than nothing when the operator had to pay. Null where nothing is set aside. */
function fundsOf(
  { record }: ActiveLease,
  { heldNanoUsd, uncollectedNanoUsd }: LeasePaid,
): Funds | null {
  const setAsideNanoUsd = holdTargetOf(BigInt(record.doc.rate))
  if (setAsideNanoUsd === 0n) return null
  const leftNanoUsd = uncollectedNanoUsd > 0n ? -uncollectedNanoUsd : heldNanoUsd
  return { setAsideNanoUsd, leftNanoUsd }
}
