/** Requests under way, by a small number that is used again. */
import type { Millis } from '../../../core/base/time.ts'
import type { Waiting } from '../../../core/routing/fair-queue.ts'
import type { Replica } from '../../../core/routing/replica.ts'
import type { ResumePlan } from '../../../core/routing/resume.ts'

export type Running = {
  readonly id: number
  /** Counts its attempts and waits: what belongs to an earlier one is over. */
  mark: number
  arrivedAt: Millis
  inputTokens: number
  outputTokens: number
  prefix: number
  given: number
  attempts: number
  fruitless: number
  deadline: Millis | null
  replica: Replica | null
  machine: number
  sentAt: Millis
  firstAt: Millis
  tried: Set<string> | null
  plans: readonly ResumePlan[] | null
  waiting: Waiting<Running> | null
  waitingSince: Millis | null
}

/** What a node is to requests. */
export type Server = {
  replica: Replica | null
  readonly tokenMs: number
  readonly promptTokenMs: number
  readonly slots: number
  readonly running: Set<Running>
  /** Sent, and waiting for one of the node's slots. */
  readonly queued: Running[]
}

export class Flights {
  readonly #all: Running[] = []
  readonly #unused: number[] = []

  add(): Running {
    const id = this.#unused.pop() ?? this.#all.length
    const mark = (this.#all[id]?.mark ?? 0) + 1
    const one: Running = { ...FRESH, id, mark }
    this.#all[id] = one
    return one
  }

  remove(one: Running): void {
    one.mark += 1
    one.replica = null
    this.#unused.push(one.id)
  }

  /** Null once what the mark belonged to is over. */
  of(id: number, mark: number): Running | null {
    const one = this.#all[id]
    return one && one.mark === mark ? one : null
  }

  count(counts: (one: Running) => boolean): number {
    const gone = new Set(this.#unused)
    return this.#all.filter((one) => !gone.has(one.id) && counts(one)).length
  }
}

const FRESH = {
  arrivedAt: 0,
  inputTokens: 0,
  outputTokens: 0,
  prefix: 0,
  given: 0,
  attempts: 0,
  fruitless: 0,
  deadline: null,
  replica: null,
  machine: -1,
  sentAt: 0,
  firstAt: 0,
  tried: null,
  plans: null,
  waiting: null,
  waitingSince: null,
}
