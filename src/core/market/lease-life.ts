/**
 * The life of a lease, from the question to the end: `decide` says what happens or why not, `evolve` what that makes of
 * it. Whoever uses it commits the events first and acts after. The gateway's lease book does not yet: it decides by
 * itself, in `ActiveLease`, and the two are to become one.
 *
 *   screened ─► ordered ─► bid ─► accepted ─► starting ─► running ⇄ degraded ─► draining ─► closed
 *                  ▲        │ says no, or nothing             │ the node is lost    │ its provider wanted out
 *                  └────────┴─────────────────────────────────┴────────────────────┘
 *
 * Each time a node is asked, it is under an epoch that was never used before: whoever speaks under another one is not,
 * or no more, the owner. Time is billed from the first moment that it runs until the owner was last heard.
 */
import type { AttoUsdPerSecond } from '../base/rate.ts'
import { refuse, type Refusal } from '../base/refusal.ts'
import type { Millis } from '../base/time.ts'

/** On which terms a node has the lease, or is asked to. */
export type Terms = {
  readonly node: string
  readonly epoch: number
  readonly rate: AttoUsdPerSecond
  /** How long before its end the node has to say so. */
  readonly noticeMs: Millis
}

/** Null before it first ran. */
export type Billing = { readonly from: Millis; readonly until: Millis } | null

/** Why it ends: the order of who wanted it says whether it opens again. */
export type Leaving = 'tenant' | 'money' | 'provider'

export type LeaseLife =
  | { readonly status: 'screened'; readonly epoch: 0 }
  /** No node has it. `epoch`: the last that was used. */
  | { readonly status: 'ordered'; readonly epoch: number }
  | {
      readonly status: 'bid'
      readonly epoch: number
      readonly asked: Terms
      readonly acceptBy: Millis
    }
  | {
      readonly status: 'accepted' | 'starting' | 'running' | 'degraded'
      readonly epoch: number
      readonly owner: Terms
      readonly billing: Billing
    }
  | {
      readonly status: 'draining'
      readonly epoch: number
      readonly owner: Terms
      readonly billing: Billing
      readonly by: Leaving
      readonly until: Millis
      readonly reason: string
    }
  | { readonly status: 'closed'; readonly epoch: number; readonly reason: string }

type Speaker = { readonly node: string; readonly epoch: number }

export type LeaseCommand =
  | { readonly type: 'order' }
  /** Asks the node of the best bid. */
  | { readonly type: 'ask'; readonly terms: Omit<Terms, 'epoch'>; readonly acceptBy: Millis }
  | ({ readonly type: 'accept' } & Speaker)
  | ({ readonly type: 'decline'; readonly why: string } & Speaker)
  | ({ readonly type: 'report'; readonly phase: Phase; readonly message: string } & Speaker)
  /** The owner was heard just now, whatever it said. */
  | ({ readonly type: 'hear' } & Speaker)
  /** The node's amended bid for a changed order, which it has signed under the next epoch. */
  | { readonly type: 'amend'; readonly terms: Terms }
  | { readonly type: 'lose'; readonly node: string; readonly why: string }
  /** `graceMs`: the least time to stop in; a provider that wants out gives its notice on top. */
  | {
      readonly type: 'leave'
      readonly by: Leaving
      readonly reason: string
      readonly graceMs: Millis
    }
  | ({ readonly type: 'stopped'; readonly why: string } & Speaker)
  /** Time has passed. */
  | { readonly type: 'look' }

type Phase = 'starting' | 'running' | 'degraded'

export type LeaseEvent =
  | { readonly type: 'order.opened' }
  | { readonly type: 'node.asked'; readonly terms: Terms; readonly acceptBy: Millis }
  | ({ readonly type: 'node.declined'; readonly why: string } & Speaker)
  | { readonly type: 'lease.accepted'; readonly terms: Terms }
  /** Until then the old rate was due. */
  | { readonly type: 'lease.amended'; readonly at: Millis; readonly terms: Terms }
  | { readonly type: `lease.${Phase}`; readonly at: Millis; readonly message: string }
  | { readonly type: 'lease.heard'; readonly at: Millis }
  | {
      readonly type: 'lease.draining'
      readonly by: Leaving
      readonly until: Millis
      readonly reason: string
    }
  /** The owner has it no more, and the order stands open again. `billedUntil`: null when it never ran. */
  | ({
      readonly type: 'order.reopened'
      readonly billedUntil: Millis | null
      readonly why: string
    } & Speaker)
  | { readonly type: 'lease.closed'; readonly billedUntil: Millis | null; readonly reason: string }

export const NEW_LEASE: LeaseLife = { status: 'screened', epoch: 0 }

type Decision = readonly LeaseEvent[] | Refusal

/** What the command brings about; nothing when there is nothing to say; a refusal when it comes at the wrong time. */
export function decide(life: LeaseLife, command: LeaseCommand, now: Millis): Decision {
  if (life.status === 'closed') return wrongTime(life, command)
  switch (command.type) {
    case 'order':
      return life.status === 'screened' ? [{ type: 'order.opened' }] : wrongTime(life, command)
    case 'ask': {
      if (life.status !== 'ordered') return wrongTime(life, command)
      const terms = { ...command.terms, epoch: life.epoch + 1 }
      return [{ type: 'node.asked', terms, acceptBy: command.acceptBy }]
    }
    case 'accept':
    case 'decline':
      return answer(life, command, now)
    case 'report':
    case 'hear':
    case 'stopped':
      return fromOwner(life, command, now)
    case 'amend':
      return amend(life, command, now)
    case 'lose':
      return hasOwner(life) && life.owner.node === command.node
        ? [ending(life, command.why)]
        : wrongTime(life, command)
    case 'leave':
      return leave(life, command, now)
    case 'look':
      return look(life, now)
  }
}

function answer(
  life: LeaseLife,
  command: Extract<LeaseCommand, { type: 'accept' | 'decline' }>,
  now: Millis,
): Decision {
  if (life.status !== 'bid') return wrongTime(life, command)
  const { asked, acceptBy } = life
  if (!isFrom(command, asked)) return stale(command, asked)
  const { node, epoch } = asked
  if (command.type === 'decline') return [{ type: 'node.declined', node, epoch, why: command.why }]
  if (now > acceptBy)
    return refuse('conflict', `${node} accepted ${now - acceptBy} ms too late.`, {
      details: { acceptBy, now },
    })
  return [{ type: 'lease.accepted', terms: asked }]
}

function fromOwner(
  life: LeaseLife,
  command: Extract<LeaseCommand, { type: 'report' | 'hear' | 'stopped' }>,
  now: Millis,
): Decision {
  if (!hasOwner(life)) return wrongTime(life, command)
  if (!isFrom(command, life.owner)) return stale(command, life.owner)
  switch (command.type) {
    case 'hear':
      return [{ type: 'lease.heard', at: now }]
    case 'stopped':
      return [{ type: 'lease.heard', at: now }, ending(heard(life, now), command.why)]
    case 'report': {
      // A lease that drains is not made to run again by what its containers do meanwhile.
      const same = command.phase === life.status || life.status === 'draining'
      const phase = command.phase === 'starting' && life.billing ? 'degraded' : command.phase
      if (same || phase === life.status) return [{ type: 'lease.heard', at: now }]
      return [{ type: `lease.${phase}`, at: now, message: command.message }]
    }
  }
}

/** The same node under a new epoch: what ran under the old one is replaced there. */
function amend(
  life: LeaseLife,
  command: Extract<LeaseCommand, { type: 'amend' }>,
  now: Millis,
): Decision {
  if (!hasOwner(life) || life.status === 'draining') return wrongTime(life, command)
  const { terms } = command
  if (terms.node !== life.owner.node || terms.epoch !== life.epoch + 1)
    return stale(terms, { node: life.owner.node, epoch: life.epoch + 1 })
  return [{ type: 'lease.amended', at: now, terms }]
}

function leave(
  life: LeaseLife,
  { by, reason, graceMs }: Extract<LeaseCommand, { type: 'leave' }>,
  now: Millis,
): Decision {
  if (!hasOwner(life)) {
    if (by === 'provider') return wrongTime(life, { type: 'leave' })
    return [{ type: 'lease.closed', billedUntil: null, reason }]
  }
  // The tenant may end what its provider drains; nobody may put off an end that was told.
  if (life.status === 'draining' && (life.by !== 'provider' || by === 'provider'))
    return wrongTime(life, { type: 'leave' })
  const until = now + graceMs + (by === 'provider' ? life.owner.noticeMs : 0)
  return [{ type: 'lease.draining', by, until, reason }]
}

function look(life: LeaseLife, now: Millis): Decision {
  if (life.status === 'bid' && now > life.acceptBy) {
    const { node, epoch } = life.asked
    return [{ type: 'node.declined', node, epoch, why: 'it did not answer in time' }]
  }
  return life.status === 'draining' && now >= life.until ? [ending(life, life.reason)] : []
}

type Owned = Extract<LeaseLife, { owner: Terms }>

/** What its owner's going makes of the lease: it is over when that was wanted, else its order opens again. */
function ending(life: Owned, why: string): LeaseEvent {
  const billedUntil = life.billing?.until ?? null
  if (life.status === 'draining' && life.by !== 'provider')
    return { type: 'lease.closed', billedUntil, reason: life.reason }
  const { node, epoch } = life.owner
  return { type: 'order.reopened', node, epoch, billedUntil, why }
}

export function evolve(life: LeaseLife, event: LeaseEvent): LeaseLife {
  const { epoch } = life
  switch (event.type) {
    case 'order.opened':
    case 'node.declined':
    case 'order.reopened':
      return { status: 'ordered', epoch }
    case 'node.asked':
      return {
        status: 'bid',
        epoch: event.terms.epoch,
        asked: event.terms,
        acceptBy: event.acceptBy,
      }
    case 'lease.accepted':
      return { status: 'accepted', epoch, owner: event.terms, billing: null }
    case 'lease.amended':
      return hasOwner(life)
        ? { ...heard(life, event.at), epoch: event.terms.epoch, owner: event.terms }
        : life
    case 'lease.starting':
      return hasOwner(life) ? phased(heard(life, event.at), 'starting') : life
    case 'lease.degraded':
      return hasOwner(life) ? phased(heard(life, event.at), 'degraded') : life
    case 'lease.running':
      return hasOwner(life) ? phased(running(life, event.at), 'running') : life
    case 'lease.heard':
      return hasOwner(life) ? heard(life, event.at) : life
    case 'lease.draining': {
      const { by, until, reason } = event
      return hasOwner(life) ? { ...life, status: 'draining', by, until, reason } : life
    }
    case 'lease.closed':
      return { status: 'closed', epoch, reason: event.reason }
  }
}

const phased = ({ epoch, owner, billing }: Owned, status: Phase): LeaseLife => ({
  status,
  epoch,
  owner,
  billing,
})

/** Time never runs back, and nothing is billed before it first ran. */
const heard = (life: Owned, at: Millis): Owned =>
  life.billing
    ? { ...life, billing: { from: life.billing.from, until: Math.max(life.billing.until, at) } }
    : life

const running = (life: Owned, at: Millis): Owned =>
  life.billing ? heard(life, at) : { ...life, billing: { from: at, until: at } }

export const hasOwner = (life: LeaseLife): life is Owned => 'owner' in life

const isFrom = (speaker: Speaker, { node, epoch }: Speaker): boolean =>
  speaker.node === node && speaker.epoch === epoch

const stale = (got: Speaker, want: Speaker): Refusal =>
  refuse(
    'conflict',
    `${got.node} speaks under epoch ${got.epoch}, but ${want.node} is meant under ${want.epoch}.`,
    { details: { node: got.node, epoch: got.epoch, meantNode: want.node, meantEpoch: want.epoch } },
  )

const wrongTime = (life: LeaseLife, { type }: { readonly type: string }): Refusal =>
  refuse('conflict', `A lease that is ${life.status} takes no '${type}'.`, {
    details: { status: life.status, epoch: life.epoch },
  })
