/**
 * Fair queues in order of rank: answers that have begun, ordinary requests, flexible ones (`service_tier: flex`).
 * When all places are taken, who comes with a better rank sheds the one of the worst rank that would expire first.
 * After Google SRE, Handling Overload (2016): criticality decides who is refused first.
 */
import { isRefusal, type Refusal } from '../base/refusal.ts'
import type { Millis } from '../base/time.ts'
import { FairQueue, type Waiting } from './fair-queue.ts'

export const BEGUN = 0
export const ORDINARY = 1
export const FLEXIBLE = 2
export type Rank = typeof BEGUN | typeof ORDINARY | typeof FLEXIBLE

type Served = { readonly tenant: string; readonly tokens: number }
export type RankedPlace<Item> = { readonly rank: Rank; readonly waiting: Waiting<Item> }

export class RankedQueue<Item extends Served> {
  readonly #inAll: number
  readonly #queues: Readonly<Record<Rank, FairQueue<Item>>>

  /** `perTenant` holds within each rank. */
  constructor(limits: { inAll: number; perTenant: number }) {
    this.#inAll = limits.inAll
    this.#queues = [new FairQueue(limits), new FairQueue(limits), new FairQueue(limits)]
  }

  get size(): number {
    const { [BEGUN]: begun, [ORDINARY]: ordinary, [FLEXIBLE]: flexible } = this.#queues
    return begun.size + ordinary.size + flexible.size
  }

  /** The place, and whom it took it from; `queue_full` when nobody there is of a worse rank. */
  push(
    rank: Rank,
    item: Item,
    deadline: Millis,
  ): { place: RankedPlace<Item>; shed: Item | null } | Refusal {
    const queue = this.#queues[rank]
    const { tenant, tokens } = item
    const isFull = this.size >= this.#inAll
    const worse = isFull ? this.#worseThan(rank) : null
    if (isFull && !worse) return queue.full(tenant, this.size)
    const waiting = queue.push({ tenant, tokens, deadline, item })
    if (isRefusal(waiting)) return waiting
    return { place: { rank, waiting }, shed: worse?.shed() ?? null }
  }

  pop(now: Millis, canServe: (item: Item) => boolean): Item | null {
    for (const queue of this.#all) {
      const item = queue.pop(now, canServe)
      if (item === null) continue
      for (const other of this.#all) if (other !== queue) other.charge(item.tenant, item.tokens)
      return item
    }
    return null
  }

  remove({ rank, waiting }: RankedPlace<Item>): void {
    this.#queues[rank].remove(waiting)
  }

  expire(now: Millis): Item[] {
    return this.#all.flatMap((queue) => queue.expire(now))
  }

  /** A tenant that was served in one rank has had its share in all. */
  charge(tenant: string, tokens: number): void {
    for (const queue of this.#all) queue.charge(tenant, tokens)
  }

  get #all(): readonly FairQueue<Item>[] {
    return [this.#queues[BEGUN], this.#queues[ORDINARY], this.#queues[FLEXIBLE]]
  }

  #worseThan(rank: Rank): FairQueue<Item> | null {
    if (this.#queues[FLEXIBLE].size > 0 && rank < FLEXIBLE) return this.#queues[FLEXIBLE]
    return this.#queues[ORDINARY].size > 0 && rank < ORDINARY ? this.#queues[ORDINARY] : null
  }
}
