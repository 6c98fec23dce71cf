/**
 * Where choices wait: in a fair queue while every node that fits is busy, and beside it, in no order, while
 * there is no such node at all and one may come back. Whoever changes the network's state says `look`.
 */
import { isRefusal, refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { ORDINARY, RankedQueue, type Rank } from '../../core/routing/ranked-queue.ts'
import type { GatewayConfig } from './config.ts'

export type Visitor = {
  readonly why: 'full' | 'vacant'
  readonly tenant: string
  /** Tokens it is expected to take. */
  readonly tokens: number
  readonly timeoutMs: number
  /** Default: ordinary. */
  readonly rank?: Rank
  /** Whether a try would do more than wait again. */
  ready(): boolean
  retry(): void
  expired(): void
  /** Somebody of a better rank took its place. */
  shed(refusal: Refusal): void
}

export type WaitingRoom = {
  /** Takes the visitor in and returns how to leave; `queue_full` when there is no place. */
  enter(visitor: Visitor): (() => void) | Refusal
  /** A slot became free or a replica came: tries again for those who wait. */
  look(): void
  /** A tenant was served so many tokens more or fewer than it was expected to take. */
  charge(tenant: string, tokens: number): void
  readonly size: number
  close(): void
}

/** Expiry and changes that nobody reported are noticed this often. */
const ROUND_MS = 100

export function createWaitingRoom(parts: {
  config: GatewayConfig
  now: () => Millis
}): WaitingRoom {
  const { config, now } = parts
  const queue = new RankedQueue<Visitor>({
    inAll: config.queueSize,
    perTenant: config.queuePerTenant,
  })
  const vacant = new Map<Visitor, Millis>()
  let looking = false
  const timer = setInterval(round, ROUND_MS)
  timer.unref()

  function round(): void {
    if (queue.size === 0 && vacant.size === 0) return
    for (const visitor of queue.expire(now())) visitor.expired()
    for (const [visitor, deadline] of vacant) {
      if (deadline > now()) continue
      vacant.delete(visitor)
      visitor.expired()
    }
    look()
  }

  function look(): void {
    // A retry can end an attempt and so come back here: one look at a time.
    if (looking || (queue.size === 0 && vacant.size === 0)) return
    looking = true
    try {
      for (const visitor of vacant.keys()) {
        if (!visitor.ready()) continue
        vacant.delete(visitor)
        visitor.retry()
      }
      for (;;) {
        const next = queue.pop(now(), (visitor) => visitor.ready())
        if (!next) break
        next.retry()
      }
    } finally {
      looking = false
    }
  }

  return {
    enter(visitor) {
      const deadline = now() + visitor.timeoutMs
      if (visitor.why === 'vacant') {
        if (vacant.size >= config.queueSize)
          return refuse('queue_full', `${vacant.size} requests wait for a node to come back.`, {
            retryAfterS: 2,
          })
        vacant.set(visitor, deadline)
        return () => void vacant.delete(visitor)
      }
      const entered = queue.push(visitor.rank ?? ORDINARY, visitor, deadline)
      if (isRefusal(entered)) return entered
      entered.shed?.shed(
        refuse('queue_full', 'The queue is full and more urgent requests came. Try again soon.', {
          retryAfterS: 5,
        }),
      )
      return () => queue.remove(entered.place)
    },
    look,
    charge: (tenant, tokens) => queue.charge(tenant, tokens),
    get size() {
      return queue.size + vacant.size
    },
    close: () => clearInterval(timer),
  }
}
