/**
 * Free capacity of many nodes, by pool: nodes that are alike in everything but what is free. Within a pool,
 * nodes with equal room are twins: they are judged once, and which of them is taken makes no difference.
 */
import { fits, give, leastOf, roomKey, take, type Need, type Room, type Taken } from './room.ts'
import type { WorkloadMix } from './workload-mix.ts'

/** How well a need would go to a node; null when it does not fit. */
export type Fit = {
  readonly gpus: Taken
  /** 0 to 100, whole: how much less fragmented the node would be. */
  readonly score: number
  /** What would be left, in big hosts: the tie-break. */
  readonly leftover: number
}

export type Twins = {
  readonly pool: Pool
  readonly key: string
  readonly room: Room
  /** In the order of their coming. */
  readonly nodes: Set<string>
  /** What was found out about this room under one mix. */
  judged: Judgement | null
}

export type Judgement = {
  readonly mix: WorkloadMix
  readonly fragmentedMilli: number
  readonly fits: Map<Need, Fit | null>
}

export type Pool = {
  readonly key: string
  /** Unlike that of any other pool, and as short-lived as the book: never to be ranked by. */
  readonly number: number
  readonly twins: Map<string, Twins>
}

type Reservation = { readonly node: string; readonly need: Need; readonly gpus: Taken }

export class CapacityBook {
  /** Thousandths of GPUs that are free, by kind. */
  readonly freeGpuMilli: number[] = []
  readonly #pools = new Map<string, Pool>()
  #made = 0
  readonly #nodes = new Map<string, Twins>()
  /** All that each node has. */
  readonly #wholes = new Map<string, Room>()
  readonly #reservations = new Map<string, Reservation>()
  /** What is reserved on each node, by id. */
  readonly #ids = new Map<string, Set<string>>()

  get size(): number {
    return this.#nodes.size
  }

  pool(key: string): Pool {
    const known = this.#pools.get(key)
    if (known) return known
    const pool: Pool = { key, number: this.#made++, twins: new Map() }
    this.#pools.set(key, pool)
    return pool
  }

  roomOf(node: string): Room | null {
    return this.#nodes.get(node)?.room ?? null
  }

  /** A node comes, or comes again otherwise: `room` is all it has. Returns what is not reserved of it. */
  set(node: string, pool: Pool, room: Room): Room {
    this.remove(node)
    this.#wholes.set(node, room)
    const free = this.#unreserved(node, room)
    this.#pools.set(pool.key, pool)
    this.#join(node, pool, free)
    return free
  }

  /**
   * The node says what is free there: others may hold what this book knows nothing of. Never more than is not reserved
   * here: a node may not have heard of the latest lease yet. False when that changes nothing.
   */
  hear(node: string, free: Room): boolean {
    const [twins, whole] = [this.#nodes.get(node), this.#wholes.get(node)]
    if (!twins || !whole) return false
    const room = leastOf(this.#unreserved(node, whole), free)
    if (roomKey(room) === twins.key) return false
    this.#move(node, twins, room)
    return true
  }

  /** A node goes. What is reserved on it is so when it comes back, unless it is released meanwhile. */
  remove(node: string): void {
    const pool = this.#nodes.get(node)?.pool
    this.#wholes.delete(node)
    this.#leave(node)
    if (pool?.twins.size === 0) this.#pools.delete(pool.key)
  }

  /** Takes what `id` needs; false when it is not free any more, or the id has something already. */
  reserve(id: string, node: string, need: Need, gpus: Taken): boolean {
    const twins = this.#nodes.get(node)
    if (!twins || this.#reservations.has(id) || !fits(twins.room, need)) return false
    this.#reservations.set(id, { node, need, gpus })
    const ids = this.#ids.get(node)
    if (ids) ids.add(id)
    else this.#ids.set(node, new Set([id]))
    this.#move(node, twins, take(twins.room, need, gpus))
    return true
  }

  /** Gives back what `id` had; false when it had nothing. */
  release(id: string): boolean {
    const reservation = this.#reservations.get(id)
    if (!reservation) return false
    this.#reservations.delete(id)
    const { node, need, gpus } = reservation
    const ids = this.#ids.get(node)
    ids?.delete(id)
    if (ids?.size === 0) this.#ids.delete(node)
    const twins = this.#nodes.get(node)
    if (twins) this.#move(node, twins, give(twins.room, need, gpus))
    return true
  }

  /** On which node the id has something reserved. */
  nodeOf(id: string): string | null {
    return this.#reservations.get(id)?.node ?? null
  }

  #unreserved(node: string, whole: Room): Room {
    let free = whole
    for (const { need, gpus } of this.#reservedOn(node)) free = take(free, need, gpus)
    return free
  }

  #reservedOn(node: string): Reservation[] {
    return [...(this.#ids.get(node) ?? [])].flatMap((id) => this.#reservations.get(id) ?? [])
  }

  #move(node: string, from: Twins, room: Room): void {
    this.#leave(node)
    this.#join(node, from.pool, room)
  }

  #join(node: string, pool: Pool, room: Room): void {
    const key = roomKey(room)
    let twins = pool.twins.get(key)
    if (!twins) {
      twins = { pool, key, room, nodes: new Set(), judged: null }
      pool.twins.set(key, twins)
    }
    twins.nodes.add(node)
    this.#nodes.set(node, twins)
    this.#countGpus(room, 1)
  }

  #leave(node: string): void {
    const twins = this.#nodes.get(node)
    if (!twins) return
    this.#nodes.delete(node)
    twins.nodes.delete(node)
    if (twins.nodes.size === 0) twins.pool.twins.delete(twins.key)
    this.#countGpus(twins.room, -1)
  }

  #countGpus(room: Room, sign: 1 | -1): void {
    for (const { kind, freeMilli } of room.gpus) {
      while (this.freeGpuMilli.length <= kind) this.freeGpuMilli.push(0)
      let free = this.freeGpuMilli[kind] ?? 0
      for (const milli of freeMilli) free += sign * milli
      this.freeGpuMilli[kind] = free
    }
  }
}
