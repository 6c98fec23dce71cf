/**
 * Every replica that this gateway can reach, by model, and what it remembers of nodes that left.
 * Mutable; adding and removing one replica never scans the others but for the ring's array move.
 */
import { MINUTE, type Millis } from '../base/time.ts'
import type { Heartbeat } from '../protocol/link.ts'
import {
  busySlots,
  cooldownAfter,
  isFull,
  recordFree,
  type Cooldown,
  type Pool,
  type Replica,
} from './replica.ts'
import { FaultBook } from './fault-book.ts'
import { Ring } from './ring.ts'

/** Models without a replica that are still known by name: 503 and not 404 for a while. */
export const MAX_EMPTY_MODELS = 1024
/** Nodes whose lost links are remembered. */
export const MAX_REMEMBERED_NODES = 20_000
/** Erlang's restart intensity: so many losses within the window, and the node is quarantined. */
export const QUARANTINE_LOSSES = 3
export const QUARANTINE_WINDOW_MS = MINUTE
export const QUARANTINE_MS = 5 * MINUTE

/** All replicas of one model. */
export type ModelReplicas = {
  readonly model: string
  /** In no order; it changes when replicas come and go. */
  readonly replicas: readonly Replica[]
  readonly pool: Readonly<Pool>
  readonly ring: Ring
}

type Shelf = { model: string; replicas: Replica[]; pool: Pool; ring: Ring }

export class ReplicaTable {
  readonly #shelves = new Map<string, Shelf>()
  /** Shelves that are empty, oldest first. */
  readonly #empty = new Set<string>()
  readonly #byLink = new Map<string, Replica[]>()
  /** Times of lost links by node, newest last. */
  readonly #losses = new Map<string, { times: Millis[]; reason: string }>()

  readonly #faults = new FaultBook()

  /** The replicas of a model; null for a model that no node ever offered. */
  of(model: string): ModelReplicas | null {
    return this.#shelves.get(model) ?? null
  }

  /** Models that at least one linked node serves. */
  models(): string[] {
    return [...this.#shelves.keys()].filter((model) => !this.#empty.has(model))
  }

  ofLink(link: string): readonly Replica[] {
    return this.#byLink.get(link) ?? []
  }

  /**
   * A link's standing offer: replaces what the link had. What was learnt of a model that stays as it was is
   * kept, and so is the very record, since running attempts hold it. Of a model named twice the first counts.
   */
  setOffer(link: string, replicas: readonly Replica[], now: Millis): void {
    const before = new Map(this.ofLink(link).map((replica) => [replica.model, replica]))
    const after = new Map<string, Replica>()
    for (const replica of replicas) {
      if (after.has(replica.model)) continue
      const old = before.get(replica.model)
      after.set(replica.model, old && sameOffer(old, replica) ? old : replica)
    }
    for (const old of before.values()) if (after.get(old.model) !== old) this.#take(old)
    for (const replica of after.values()) if (replica.position < 0) this.#put(replica, before, now)
    this.#byLink.set(link, [...after.values()])
  }

  /** The link is gone: nothing of it is chosen again. `loss`: it broke and did not say goodbye. */
  removeLink(link: string, loss: { reason: string; now: Millis } | null): void {
    const replicas = this.ofLink(link)
    for (const replica of replicas) this.#take(replica)
    this.#byLink.delete(link)
    const node = replicas[0]?.node
    if (loss && node !== undefined) this.#recordLoss(node, loss.reason, loss.now)
  }

  /** The node finishes what runs and wants nothing new. */
  drain(link: string): void {
    for (const replica of this.ofLink(link)) replica.draining = true
  }

  /** The node said what no honest node says: it is not asked for a while, under whatever link. */
  quarantine(node: string, link: string, reason: string, now: Millis): void {
    const cooldown = this.#faults.fault(node, reason, now)
    for (const replica of this.ofLink(link)) replica.cooldown = cooldown
  }

  heartbeat(link: string, heartbeat: Heartbeat): void {
    for (const replica of this.ofLink(link)) {
      const free = heartbeat.free[replica.offerIndex]
      if (free !== undefined) recordFree(replica, free, heartbeat.queued[replica.offerIndex] ?? 0)
    }
  }

  #put(replica: Replica, before: ReadonlyMap<string, Replica>, now: Millis): void {
    const shelf = this.#shelves.get(replica.model) ?? newShelf(replica.model)
    this.#shelves.set(replica.model, shelf)
    this.#empty.delete(replica.model)
    const old = before.get(replica.model)
    if (old) inherit(replica, old)
    else replica.cooldown = this.#cooldownOf(replica.node, now)
    replica.position = shelf.replicas.push(replica) - 1
    replica.pool = shelf.pool
    count(shelf.pool, replica, 1)
    shelf.ring.add(replica)
  }

  #take(replica: Replica): void {
    const shelf = this.#shelves.get(replica.model)
    const last = shelf?.replicas.pop()
    if (!shelf || !last) return
    if (last !== replica) {
      shelf.replicas[replica.position] = last
      last.position = replica.position
    }
    replica.position = -1
    count(shelf.pool, replica, -1)
    // Attempts still running on it go on counting, apart from the model's.
    replica.pool = { running: 0, slots: 0, roomy: 0 }
    count(replica.pool, replica, 1)
    shelf.ring.remove(replica)
    if (shelf.replicas.length === 0) this.#remember(replica.model)
  }

  #remember(model: string): void {
    this.#empty.add(model)
    if (this.#empty.size <= MAX_EMPTY_MODELS) return
    for (const oldest of this.#empty) {
      this.#empty.delete(oldest)
      this.#shelves.delete(oldest)
      return
    }
  }

  #recordLoss(node: string, reason: string, now: Millis): void {
    const times = this.#recentLosses(node, now)
    this.#losses.delete(node)
    this.#losses.set(node, { times: [...times, now].slice(-QUARANTINE_LOSSES), reason })
    if (this.#losses.size <= MAX_REMEMBERED_NODES) return
    for (const oldest of this.#losses.keys()) {
      this.#losses.delete(oldest)
      return
    }
  }

  #recentLosses(node: string, now: Millis): readonly Millis[] {
    const times = this.#losses.get(node)?.times ?? []
    return times.filter((time) => time > now - QUARANTINE_WINDOW_MS)
  }

  /** What a node that links again starts with: nothing, a cooldown since its last loss, or quarantine. */
  #cooldownOf(node: string, now: Millis): Cooldown | null {
    const quarantine = this.#faults.of(node, now)
    if (quarantine) return quarantine
    const losses = this.#recentLosses(node, now)
    const last = losses.at(-1)
    if (last === undefined) return null
    const reason = `link lost: ${this.#losses.get(node)?.reason}`
    if (losses.length < QUARANTINE_LOSSES) return cooldownAfter(losses.length, reason, last)
    const until = last + QUARANTINE_MS
    const seconds = QUARANTINE_WINDOW_MS / 1000
    const often = `link lost ${QUARANTINE_LOSSES} times within ${seconds} s; last: ${reason}`
    return { since: last, until, reason: often, failures: losses.length }
  }
}

const newShelf = (model: string): Shelf => ({
  model,
  replicas: [],
  pool: { running: 0, slots: 0, roomy: 0 },
  ring: new Ring(),
})

/** Counts a replica in (1) or out (−1). */
function count(pool: Pool, replica: Replica, sign: 1 | -1): void {
  pool.slots += sign * replica.slots
  pool.running += sign * replica.outstanding
  pool.roomy += sign * Number(!isFull(replica))
}

/** A changed offer keeps what was learnt; attempts that still run on the old record now count as others'. */
function inherit(replica: Replica, old: Replica): void {
  replica.draining = old.draining
  replica.cooldown = old.cooldown
  replica.othersBusy = busySlots(old)
  if (old.digest !== replica.digest || old.engine !== replica.engine) return
  replica.firstTokenMs = old.firstTokenMs
  replica.tokenMs = old.tokenMs
}

/** Whether the record can stay: everything that was offered is as before. */
function sameOffer(a: Replica, b: Replica): boolean {
  return (
    a.node === b.node &&
    a.digest === b.digest &&
    a.engine === b.engine &&
    a.quantization === b.quantization &&
    a.contextTokens === b.contextTokens &&
    a.slots === b.slots &&
    a.capabilities === b.capabilities &&
    a.price.inputNanoUsdPerMTok === b.price.inputNanoUsdPerMTok &&
    a.price.outputNanoUsdPerMTok === b.price.outputNanoUsdPerMTok &&
    a.region === b.region &&
    a.tier === b.tier &&
    a.providerName === b.providerName &&
    a.dataCollection === b.dataCollection &&
    a.offerIndex === b.offerIndex
  )
}
