/** What a lease owes its node, worked out from its record alone. */
import { accrue } from '../../../core/base/rate.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { LeasePayment, LeaseRecord } from '../../../io/store/deployment-records.ts'

/** What is set aside for a lease: an hour. */
const HOLD_SECONDS = 3600n
const ATTO_PER_NANO = 1_000_000_000n

export const holdTargetOf = (rate: bigint): NanoUsd => (rate * HOLD_SECONDS) / ATTO_PER_NANO

/** The time until `until`; null when nothing is billed, or no time has passed. */
export function paymentUntil(record: LeaseRecord, until: Millis): LeasePayment | null {
  const { id, epoch, node, billedUntil, carry, doc } = record
  if (node === null || billedUntil === null || until <= billedUntil) return null
  const rate = BigInt(doc.rate)
  const due = accrue({ rate, ms: until - billedUntil, carry })
  return {
    lease: id,
    epoch,
    node,
    from: billedUntil,
    until,
    nanoUsd: due.nanoUsd,
    carryBefore: carry,
    carry: due.carry,
    holdTargetNanoUsd: holdTargetOf(rate),
  }
}

/** The record after the store took the payment; unchanged when it was of another time or owner. */
export function afterPayment(record: LeaseRecord, payment: LeasePayment): LeaseRecord {
  if (record.epoch !== payment.epoch || record.billedUntil !== payment.from) return record
  const { until: billedUntil, carry, nanoUsd } = payment
  return { ...record, billedUntil, carry, spentNanoUsd: record.spentNanoUsd + nanoUsd }
}
