/** A lease's record as the state of its life, what a decision changes in the record, and what its tenant reads of it. */
import { formatUsd } from '../../../core/base/money.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import type { Funds } from '../../../core/market/deployment-life.ts'
import { hasOwner, type LeaseEvent, type LeaseLife } from '../../../core/market/lease-life.ts'
import type { Gpu } from '../../../core/protocol/capacity.ts'
import { leaseSchema } from '../../../core/protocol/lease.ts'
import type { LeaseChange, LeaseDoc, LeaseRecord } from '../../../io/store/deployment-records.ts'

/** What it runs on by its signed terms, in the order of the group's units. */
export function gpusOf({ terms, group }: LeaseDoc): (Gpu | null)[] {
  const read = terms === null ? null : leaseSchema.safeParse(JSON.parse(terms))
  return group.units.map((_, i) => read?.data?.units[i]?.gpu ?? null)
}

/** What is not written down: a question dies with the gateway that asked it. */
export type Memory = {
  readonly asked: Extract<LeaseLife, { waits: boolean }>['asked']
  readonly waits: boolean
}
export const NO_MEMORY: Memory = { asked: null, waits: false }

export function lifeOf(record: LeaseRecord, { asked, waits }: Memory): LeaseLife {
  const { state, epoch, node, billedUntil, doc } = record
  const { ownerEpoch, startedAt, avoid, failedStarts, purse, drain, message: reason } = doc
  const facts = { epoch, avoid, failedStarts, purse }
  if (state === 'closed') return { ...facts, status: 'closed', reason }
  if (node === null || ownerEpoch === null || state === 'ordered' || state === 'bid')
    return { ...facts, status: state === 'bid' ? 'bid' : 'ordered', asked, waits }
  const owner = { node, epoch: ownerEpoch, startedAt, billedUntil }
  if (state !== 'draining') return { ...facts, status: state, owner, asked }
  // A row without it was written before providers could give notice.
  const { by, until } = drain ?? { by: 'tenant', until: 0 }
  return { ...facts, status: 'draining', owner, asked, by, until, reason }
}

export const memoryOf = (life: LeaseLife): Memory => ({
  asked: 'asked' in life ? life.asked : null,
  waits: 'waits' in life && life.waits,
})

/** `billedUntil` is left out where no decision changes it: payments move it all the time. */
export function changeOf(
  before: LeaseLife,
  after: LeaseLife,
  events: readonly LeaseEvent[],
  { hold, doc }: LeaseRecord,
): LeaseChange {
  const owner = hasOwner(after) ? after.owner : null
  const due = owner?.billedUntil ?? null
  const dueBefore = hasOwner(before) ? before.owner.billedUntil : null
  const { status: state, epoch, avoid, failedStarts, purse } = after
  const drain = after.status === 'draining' ? { by: after.by, until: after.until } : null
  return {
    state,
    epoch,
    node: owner?.node ?? null,
    hold: state === 'closed' ? null : hold,
    ...(due === dueBefore ? {} : { billedUntil: due }),
    doc: {
      ...doc,
      ...docOf(events),
      ownerEpoch: owner?.epoch ?? null,
      startedAt: owner?.startedAt ?? null,
      avoid: [...avoid],
      failedStarts,
      purse,
      drain,
    },
  }
}

/** How it stands, in words; no copy of it is told of where nobody has it. */
function docOf(events: readonly LeaseEvent[]): Partial<LeaseDoc> {
  const doc: Partial<LeaseDoc> = {}
  for (const event of events) {
    if (event.type === 'lease.accepted') Object.assign(doc, { message: 'accepted', replicas: [] })
    if (event.type === 'node.lost') Object.assign(doc, { message: event.why, replicas: [] })
    if ('reason' in event) doc.message = event.reason
  }
  return doc
}

/** What the tenant reads of it; null where there is nothing to read. */
export function wordsOf(
  event: LeaseEvent,
  { spentNanoUsd, at }: { readonly spentNanoUsd: bigint; readonly at: Millis },
): string | null {
  switch (event.type) {
    case 'node.asked':
    // Its price is told by who knows it.
    case 'lease.accepted':
      return null
    case 'lease.waiting':
      return event.again ? null : `no node has it now, and the order stands: ${event.why}`
    case 'lease.update_refused':
      return 'no node takes the new terms; it runs on as it was'
    case 'lease.updated':
      return 'a new manifest'
    case 'lease.starting':
    case 'lease.running':
    case 'lease.degraded':
      return event.message
    case 'node.lost':
      return `${event.why}; looking for another node, nothing is billed meanwhile`
    case 'money.low':
      return `${leftOf(event)}, and the balance has no more`
    case 'money.restored':
      return leftOf(event)
    case 'money.out':
      return `the balance is used up; the lease ends in ${(event.endsAt - at) / MINUTE} minutes unless credit is added`
    case 'money.over':
      return 'no credit came; its volumes are kept for a day'
    case 'lease.draining':
      return event.by === 'provider'
        ? `${event.reason}; it runs on until it has moved, or for ${Math.round((event.until - at) / MINUTE)} minutes`
        : event.reason
    case 'lease.closed':
      return `${event.reason}; $${formatUsd(spentNanoUsd)} in all`
  }
}

const leftOf = ({ leftNanoUsd, setAsideNanoUsd }: Funds): string =>
  `$${formatUsd(leftNanoUsd)} is left of the $${formatUsd(setAsideNanoUsd)} set aside`
