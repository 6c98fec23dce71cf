/**
 * The life of a lease, from its order to its end: `decide` says what happens or why not, `evolve` what that makes of it.
 * Whoever uses it commits the events first and acts after: the gateway's lease book, a simulator.
 *
 *   ordered ──► bid (a node is asked, under a new epoch) ──► accepted ──► starting ──► running ⇄ degraded
 *      ▲          │ nobody takes it                                │ it failed to start, or its node is lost
 *      └──────────┴────────────────────────────────────────────────┘            draining ──► closed
 *
 * Each time a node is asked, it is under an epoch that was never used before: whoever speaks under another one is not,
 * or no more, the owner. A lease that has an owner may ask, too: for new terms, or to move. Before its order there is
 * only the question who could run it, which `screening.ts` answers.
 */
import { refuse, type Refusal } from '../base/refusal.ts'
import { MINUTE, SECOND, type Millis } from '../base/time.ts'
import type { LeasePhase } from '../protocol/lease-control.ts'
import {
  decidePurse,
  evolvePurse,
  NEW_PURSE,
  type Funds,
  type Purse,
  type PurseEvent,
} from './deployment-life.ts'

/** A node that lost or refused to start this lease is not asked again so soon. */
export const AVOID_MS: Millis = 5 * MINUTE
/** After so many nodes in a row could not start it the fault is in the lease. */
export const MAX_FAILED_STARTS = 3
/** How long a node may take to say that it has stopped a lease. */
export const STOPPED_MS: Millis = 30 * SECOND

/** A node, and the epoch under which it is meant. */
export type Speaker = { readonly node: string; readonly epoch: number }
type Question = Speaker & { readonly acceptBy: Millis }
export type Owner = Speaker & {
  /** Since when it runs there; null before it first ran. */
  readonly startedAt: Millis | null
  /** Time is due from here on; null: none is. */
  readonly billedUntil: Millis | null
}
export type Avoided = { readonly node: string; readonly until: Millis }

/** Who wants its end; when its provider does, its order opens again. */
export type Leaving = 'tenant' | 'money' | 'provider'

type Facts = {
  /** The last that was used. */
  readonly epoch: number
  /** Nodes that had it and failed. */
  readonly avoid: readonly Avoided[]
  /** In a row. */
  readonly failedStarts: number
  readonly purse: Purse
}
type Unowned = {
  readonly status: 'ordered' | 'bid'
  readonly asked: Question | null
  /** The tenant knows that no node takes it. */
  readonly waits: boolean
}
type Running = {
  readonly status: 'accepted' | 'starting' | 'running' | 'degraded'
  readonly owner: Owner
  readonly asked: Question | null
}
type Draining<By extends Leaving> = {
  readonly status: 'draining'
  readonly owner: Owner
  readonly asked: Question | null
  readonly by: By
  /** It is over then, whatever its node says. */
  readonly until: Millis
  readonly reason: string
}
type Closed = { readonly status: 'closed'; readonly reason: string }
type Leaves = Draining<'provider'>
type Ends = Draining<'tenant' | 'money'>
export type LeaseLife = Facts & (Unowned | Running | Leaves | Ends | Closed)

export const NEW_LEASE: LeaseLife = {
  status: 'ordered',
  epoch: 0,
  asked: null,
  waits: false,
  avoid: [],
  failedStarts: 0,
  purse: NEW_PURSE,
}

export type LeaseCommand =
  | { readonly type: 'ask'; readonly node: string; readonly acceptBy: Millis }
  | ({ readonly type: 'accept' } & Speaker)
  /** All who could take it were asked. */
  | { readonly type: 'give-up'; readonly why: string }
  /** Another manifest on the same terms. */
  | { readonly type: 'update' }
  | ({ readonly type: 'report'; readonly phase: LeasePhase; readonly message: string } & Speaker)
  | ({ readonly type: 'stopped'; readonly why: string } & Speaker)
  | { readonly type: 'lose'; readonly node: string; readonly why: string }
  /** Its money as the last bill left it. */
  | { readonly type: 'bill'; readonly funds: Funds }
  /** `noticeMs`: how long a provider has to keep it after saying so. */
  | { readonly type: 'leave'; readonly by: 'tenant' | 'money'; readonly reason: string }
  | ({
      readonly type: 'give-notice'
      readonly noticeMs: Millis
      readonly reason: string
    } & Speaker)
  /** Time has passed. */
  | { readonly type: 'look' }

export type LeaseEvent =
  | ({ readonly type: 'node.asked' } & Question)
  /** `before`: who had it until now. */
  | ({ readonly type: 'lease.accepted'; readonly before: Owner | null } & Speaker)
  /** No node takes it now, and the order stands. `again`: as the tenant knows. */
  | { readonly type: 'lease.waiting'; readonly why: string; readonly again: boolean }
  /** No node takes the new terms; it runs on as it was. */
  | { readonly type: 'lease.update_refused' }
  | { readonly type: 'lease.updated' }
  | {
      readonly type: 'lease.starting' | 'lease.running' | 'lease.degraded'
      readonly at: Millis
      readonly message: string
    }
  /** It has it no more, and the order stands open again. */
  | {
      readonly type: 'node.lost'
      readonly lost: Owner
      readonly at: Millis
      readonly failedStart: boolean
      readonly why: string
    }
  | PurseEvent
  | {
      readonly type: 'lease.draining'
      readonly by: Leaving
      readonly until: Millis
      readonly reason: string
    }
  | { readonly type: 'lease.closed'; readonly reason: string }

type Decision = readonly LeaseEvent[] | Refusal

/** What the command brings about; nothing when nothing is new; a refusal when it is not its time, or not its speaker's. */
export function decide(life: LeaseLife, command: LeaseCommand, now: Millis): Decision {
  if (life.status === 'closed') return wrongTime(life, command)
  switch (command.type) {
    case 'ask':
      return ask(life, command)
    case 'accept':
      return accept(life, command, now)
    case 'give-up':
      return giveUp(life, command.why)
    case 'update':
      return isEnding(life) ? wrongTime(life, command) : [{ type: 'lease.updated' }]
    case 'report':
    case 'stopped':
    case 'give-notice':
      return fromOwner(life, command, now)
    case 'lose':
      if (!hasOwner(life) || life.owner.node !== command.node) return wrongTime(life, command)
      return [over(life, command.why, now)]
    case 'bill':
      return bill(life, command.funds, now)
    case 'leave':
      return leave(life, command, now)
    case 'look':
      return life.status === 'draining' && now >= life.until ? [over(life, life.reason, now)] : []
  }
}

/** Nodes that lost or failed it, and whose time of being left alone is not over. */
export const avoidedNow = ({ avoid }: Facts, now: Millis): Set<string> =>
  new Set(avoid.filter(({ until }) => until > now).map(({ node }) => node))

/** A tenant who ran out of money finds its volumes again. */
export const keepsVolumes = ({ purse }: Facts): boolean => purse.status === 'over'

/** Its provider wants out: it runs on until it has moved, or its notice is over. */
export const isLeaving = (life: LeaseLife): life is Facts & Leaves =>
  life.status === 'draining' && life.by === 'provider'

/** It is told to end, for good. */
export const isEnding = (life: LeaseLife): life is Facts & Ends =>
  life.status === 'draining' && life.by !== 'provider'

type Open = Facts & (Unowned | Running | Leaves | Ends)
type Owned = Facts & (Running | Leaves | Ends)

export const hasOwner = (life: LeaseLife): life is Owned => 'owner' in life

function ask(
  life: Open,
  { node, acceptBy, type }: Extract<LeaseCommand, { type: 'ask' }>,
): Decision {
  if (isEnding(life) || (isLeaving(life) && life.owner.node === node))
    return wrongTime(life, { type })
  return [{ type: 'node.asked', node, epoch: life.epoch + 1, acceptBy }]
}

function accept(
  life: Open,
  { node, epoch, type }: Extract<LeaseCommand, { type: 'accept' }>,
  now: Millis,
): Decision {
  const { asked } = life
  if (!asked) return wrongTime(life, { type })
  if (!isFrom({ node, epoch }, asked)) return stale({ node, epoch }, asked)
  const lateMs = now - asked.acceptBy
  if (lateMs > 0)
    return refuse('conflict', `${node} accepted ${lateMs} ms too late.`, { details: { lateMs } })
  return [{ type: 'lease.accepted', node, epoch, before: hasOwner(life) ? life.owner : null }]
}

function giveUp(life: Open, why: string): Decision {
  if (life.status === 'draining') return []
  if (hasOwner(life)) return [{ type: 'lease.update_refused' }]
  const { waits: again, status } = life
  return again && status === 'ordered' ? [] : [{ type: 'lease.waiting', why, again }]
}

function fromOwner(
  life: Open,
  command: Extract<LeaseCommand, { type: 'report' | 'stopped' | 'give-notice' }>,
  now: Millis,
): Decision {
  if (!hasOwner(life)) return wrongTime(life, command)
  if (!isFrom(command, life.owner)) return stale(command, life.owner)
  switch (command.type) {
    case 'stopped':
      return [over(life, `${command.node} stopped it: ${command.why}`, now)]
    case 'give-notice': {
      if (life.status === 'draining') return []
      const until = now + command.noticeMs
      return [{ type: 'lease.draining', by: 'provider', until, reason: command.reason }]
    }
    case 'report':
      return report(life, command, now)
  }
}

function report(
  life: Owned,
  { node, phase, message }: Extract<LeaseCommand, { type: 'report' }>,
  now: Millis,
): Decision {
  // A lease that drains is not made to run again by what its containers do meanwhile.
  if (life.status === 'draining') return []
  const neverRan = life.owner.startedAt === null
  if (phase === 'failed' && neverRan) {
    const why = `${node} could not start it: ${message}`
    const lost = over(life, why, now, true)
    const times = life.failedStarts + 1
    if (times < MAX_FAILED_STARTS) return [lost]
    const reason = `it could not be started on ${times} nodes: ${message}`
    return [lost, { type: 'lease.closed', reason }]
  }
  const status = statusOf(phase, neverRan)
  return status === life.status ? [] : [{ type: `lease.${status}`, at: now, message }]
}

function statusOf(phase: LeasePhase, neverRan: boolean): 'starting' | 'running' | 'degraded' {
  if (phase === 'running') return 'running'
  return neverRan && phase !== 'degraded' ? 'starting' : 'degraded'
}

function bill(life: Open, funds: Funds, now: Millis): Decision {
  const event = decidePurse(life.purse, funds, now)
  if (event === null) return []
  if (event.type !== 'money.over' || isEnding(life)) return [event]
  return [event, ...ending(life, 'money', 'the balance is used up', now)]
}

/** The tenant may end what its provider drains; nobody may put off an end that was told. */
function leave(
  life: Open,
  { by, reason, type }: Extract<LeaseCommand, { type: 'leave' }>,
  now: Millis,
): Decision {
  if (isEnding(life)) return wrongTime(life, { type })
  return ending(life, by, reason, now)
}

const ending = (life: Open, by: Leaving, reason: string, now: Millis): LeaseEvent[] =>
  hasOwner(life)
    ? [{ type: 'lease.draining', by, until: now + STOPPED_MS, reason }]
    : [{ type: 'lease.closed', reason }]

/** What its owner's going makes of the lease: it is over when that was wanted, else its order opens again. */
function over(life: Owned, why: string, at: Millis, failedStart = false): LeaseEvent {
  if (isEnding(life)) return { type: 'lease.closed', reason: life.reason }
  return { type: 'node.lost', lost: life.owner, at, failedStart, why }
}

export function evolve(life: LeaseLife, event: LeaseEvent): LeaseLife {
  const { epoch, avoid, failedStarts, purse } = life
  const facts = { epoch, avoid, failedStarts, purse }
  switch (event.type) {
    case 'node.asked': {
      const { node, acceptBy } = event
      const asked = { node, epoch: event.epoch, acceptBy }
      if (hasOwner(life)) return { ...life, epoch: event.epoch, asked }
      const waits = 'waits' in life && life.waits
      return { ...facts, epoch: event.epoch, status: 'bid', asked, waits }
    }
    case 'lease.accepted': {
      const owner = { node: event.node, epoch: event.epoch, startedAt: null, billedUntil: null }
      return { ...facts, status: 'accepted', owner, asked: null }
    }
    case 'lease.waiting':
      return { ...facts, status: 'ordered', asked: null, waits: true }
    case 'lease.update_refused':
      return hasOwner(life) ? { ...life, asked: null } : life
    case 'lease.updated':
      // Whoever waits for the change waits until the node says that it runs so.
      return life.status === 'running' ? { ...life, status: 'degraded' } : life
    case 'lease.starting':
      return hasOwner(life) ? phased(life, 'starting') : life
    case 'lease.degraded':
      return hasOwner(life) ? phased(life, 'degraded') : life
    case 'lease.running': {
      if (!hasOwner(life)) return life
      const { startedAt, billedUntil } = life.owner
      const { at } = event
      const owner = {
        ...life.owner,
        startedAt: startedAt ?? at,
        billedUntil: billedUntil ?? at,
      }
      return { ...phased({ ...life, owner }, 'running'), failedStarts: 0 }
    }
    case 'node.lost': {
      const kept = avoid.filter(({ until }) => until > event.at)
      return {
        ...facts,
        status: 'ordered',
        asked: null,
        waits: false,
        avoid: [...kept, { node: event.lost.node, until: event.at + AVOID_MS }],
        failedStarts: failedStarts + (event.failedStart ? 1 : 0),
      }
    }
    case 'money.low':
    case 'money.out':
    case 'money.restored':
    case 'money.over':
      return { ...life, purse: evolvePurse(event) }
    case 'lease.draining': {
      const { by, until, reason } = event
      if (!hasOwner(life)) return life
      return { ...facts, owner: life.owner, status: 'draining', asked: null, by, until, reason }
    }
    case 'lease.closed':
      return { ...facts, status: 'closed', reason: event.reason }
  }
}

/** Pulling and starting are the provider's time: nothing is due before it first ran. */
const phased = (
  { epoch, avoid, failedStarts, purse, owner, asked }: Owned,
  status: Running['status'],
): LeaseLife => ({ epoch, avoid, failedStarts, purse, owner, asked, status })

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
