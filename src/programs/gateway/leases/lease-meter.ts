/**
 * Bills leased time: every few seconds, until when each node was last heard, in one commit for all leases. Tells
 * tenants when their money runs low, and ends what cannot be paid after a grace.
 */
import { formatUsd } from '../../../core/base/money.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, SECOND, type Millis } from '../../../core/base/time.ts'
import type { LeasePaid, LeasePayment } from '../../../io/store/deployment-records.ts'
import { MAX_LEASE_PAYMENTS } from '../../../io/store/lease-payments.ts'
import type { ActiveLease } from './active-lease.ts'
import { holdTargetOf } from './lease-dues.ts'
import type { LeaseParts } from './lease-parts.ts'

const BILL_MS = 5 * SECOND
/** Of what is set aside, a fifth is left, and nothing fills it up: 80 % are spent. */
const LOW_SHARE = 5n
/** A lease without money goes on so long, at the operator's cost: time to top up. */
const GRACE_MS = 5 * MINUTE

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
  const { lowSince, drySince, rate } = lease.record.doc
  const target = holdTargetOf(BigInt(rate))
  const left = `$${formatUsd(heldNanoUsd)} is left of the $${formatUsd(target)} set aside`
  if (heldNanoUsd * LOW_SHARE > target) {
    if (lowSince !== null || drySince !== null)
      lease.money({ lowSince: null, drySince: null }, 'money.restored', left)
  } else if (uncollectedNanoUsd > 0n) {
    if (drySince === null)
      lease.money(
        { lowSince: lowSince ?? at, drySince: at },
        'money.out',
        `the balance is used up; the lease ends in ${GRACE_MS / MINUTE} minutes unless credit is added`,
      )
    else if (at - drySince > GRACE_MS) void lease.close('the balance is used up', true)
  } else if (lowSince === null)
    lease.money(
      { lowSince: at, drySince: null },
      'money.low',
      `${left}, and the balance has no more`,
    )
}
