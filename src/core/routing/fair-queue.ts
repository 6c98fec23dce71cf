/**
 * Who is served next when nodes are full: the tenant that has had the fewest tokens since the queue began to
 * matter. Virtual token counters after Sheng et al., Fairness in Serving Large Language Models (OSDI 2024): a
 * tenant that was idle starts level with the least served of those that wait, so that nobody saves up.
 */
import { refuse, type Refusal } from '../base/refusal.ts'
import type { Millis } from '../base/time.ts'
import { Heap } from './heap.ts'

export type Waiting<Item> = {
  readonly tenant: string
  readonly item: Item
  /** Tokens it is expected to take: charged when it is served, corrected by `charge`. */
  readonly tokens: number
  readonly deadline: Millis
  place: number
}

type Tenant<Item> = {
  readonly name: string
  /** Tokens served, in the order of the whole queue. */
  counter: number
  readonly waiting: Set<Waiting<Item>>
  place: number
}

/** Tenants looked at for one that can be served: more would make every slot that frees cost too much. */
const MAX_LOOKED_AT = 32
/** Counters of tenants that do not wait now but are ahead of those that do. */
const MAX_AHEAD = 10_000

export class FairQueue<Item> {
  readonly #maxInAll: number
  readonly #maxPerTenant: number
  readonly #tenants = new Map<string, Tenant<Item>>()
  readonly #byCounter = new Heap<Tenant<Item>>((a, b) => a.counter < b.counter)
  readonly #byDeadline = new Heap<Waiting<Item>>((a, b) => a.deadline < b.deadline)
  /** Where newcomers start: the least counter of all that wait, or of the last that did. */
  #level = 0

  constructor(limits: { inAll: number; perTenant: number }) {
    this.#maxInAll = limits.inAll
    this.#maxPerTenant = limits.perTenant
  }

  get size(): number {
    return this.#byDeadline.size
  }

  /** Queues the item; the handle removes it. Refuses with `queue_full` and the numbers. */
  push(entry: {
    tenant: string
    item: Item
    tokens: number
    deadline: Millis
  }): Waiting<Item> | Refusal {
    const own = this.#tenants.get(entry.tenant)?.waiting.size ?? 0
    if (this.size >= this.#maxInAll || own >= this.#maxPerTenant) return this.full(entry.tenant)
    const tenant = this.#tenant(entry.tenant)
    const waiting: Waiting<Item> = { ...entry, place: -1 }
    if (tenant.waiting.size === 0) {
      tenant.counter = Math.max(tenant.counter, this.#level)
      this.#byCounter.add(tenant)
    }
    tenant.waiting.add(waiting)
    this.#byDeadline.add(waiting)
    return waiting
  }

  /**
   * Takes out the oldest item of the least served tenant whose oldest item can be served. Items past their
   * deadline are left for `expire`.
   */
  pop(now: Millis, canServe: (item: Item) => boolean): Item | null {
    const passed: Tenant<Item>[] = []
    let served: Waiting<Item> | null = null
    while (served === null && passed.length < MAX_LOOKED_AT) {
      const tenant = this.#byCounter.first()
      if (!tenant) break
      const oldest = firstAlive(tenant.waiting, now)
      if (oldest && canServe(oldest.item)) served = oldest
      else {
        this.#byCounter.remove(tenant)
        passed.push(tenant)
      }
    }
    for (const tenant of passed) this.#byCounter.add(tenant)
    if (served === null) return null
    this.remove(served)
    this.charge(served.tenant, served.tokens)
    return served.item
  }

  /** Its requester is gone. Again is nothing. */
  remove(waiting: Waiting<Item>): void {
    const tenant = this.#tenants.get(waiting.tenant)
    if (!tenant?.waiting.delete(waiting)) return
    this.#byDeadline.remove(waiting)
    if (tenant.waiting.size === 0) this.#byCounter.remove(tenant)
    this.#raiseLevel(tenant.counter)
  }

  /** Takes out the one whose deadline comes first. */
  shed(): Item | null {
    const first = this.#byDeadline.first()
    if (!first) return null
    this.remove(first)
    return first.item
  }

  /** Takes out all whose deadline has come. */
  expire(now: Millis): Item[] {
    const expired: Item[] = []
    for (;;) {
      const first = this.#byDeadline.first()
      if (!first || first.deadline > now) return expired
      this.remove(first)
      expired.push(first.item)
    }
  }

  /**
   * The tenant was served so many tokens more than was charged, or fewer (below 0). Nothing while nobody
   * waits: then nobody is kept from anything.
   */
  charge(tenant: string, tokens: number): void {
    const known = this.#tenants.get(tenant)
    if (!known && this.size === 0) return
    const served = known ?? this.#tenant(tenant)
    served.counter += tokens
    if (served.waiting.size > 0) this.#byCounter.moved(served)
    this.#raiseLevel(served.counter)
  }

  #tenant(name: string): Tenant<Item> {
    const known = this.#tenants.get(name)
    if (known) return known
    if (this.#tenants.size >= MAX_AHEAD + this.#byCounter.size) this.#forget()
    const tenant = { name, counter: this.#level, waiting: new Set<Waiting<Item>>(), place: -1 }
    this.#tenants.set(name, tenant)
    return tenant
  }

  /** Once nobody waits the level is what the last one had had. */
  #raiseLevel(last: number): void {
    this.#level = Math.max(this.#level, this.#byCounter.first()?.counter ?? last)
  }

  /** Drops tenants that do not wait: first all that are not ahead, whose counters say nothing; then any. */
  #forget(): void {
    for (const { name, waiting, counter } of this.#tenants.values()) {
      if (waiting.size === 0 && counter <= this.#level) this.#tenants.delete(name)
    }
    for (const { name, waiting } of this.#tenants.values()) {
      if (this.#tenants.size <= MAX_AHEAD / 2 + this.#byCounter.size) return
      if (waiting.size === 0) this.#tenants.delete(name)
    }
  }

  full(name: string, inAll = this.size): Refusal {
    const own = this.#tenants.get(name)?.waiting.size ?? 0
    return refuse(
      'queue_full',
      `All nodes are busy and the queue is full: ${inAll} of ${this.#maxInAll} wait, ${own} of ${this.#maxPerTenant} of them yours. Try again soon.`,
      {
        retryAfterS: 2,
        details: {
          waiting: inAll,
          limit: this.#maxInAll,
          yours: own,
          yourLimit: this.#maxPerTenant,
        },
      },
    )
  }
}

function firstAlive<Item>(
  waiting: ReadonlySet<Waiting<Item>>,
  now: Millis,
): Waiting<Item> | undefined {
  for (const one of waiting) if (one.deadline > now) return one
  return undefined
}
