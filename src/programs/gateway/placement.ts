/**
 * Finds a place for the next attempt of a choice: a replica that fits and the money that it may cost. When all
 * are busy it queues, when there is none it waits a moment, and it answers exactly once: `placed` or `refused`.
 */
import type { NanoUsd } from '../../core/base/money.ts'
import { isRefusal, refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { InferenceRequest } from '../../core/protocol/inference-request.ts'
import {
  chooseReplica,
  type Choice as RoutingChoice,
  type Chosen,
  type Full,
} from '../../core/routing/choose.ts'
import { needsOf } from '../../core/routing/needs.ts'
import { BEGUN, FLEXIBLE, ORDINARY } from '../../core/routing/ranked-queue.ts'
import type { Replica } from '../../core/routing/replica.ts'
import { chooseForPlans, type ResumePlan } from '../../core/routing/resume.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { KeyEntry } from './keyring.ts'
import type { Reservation } from './meter.ts'

/** What is asked for, and how far the answer is. */
export type Wanted = {
  readonly request: InferenceRequest
  readonly key: KeyEntry
  readonly affinity: number | null
  /** Ways to go on after a break, best first, and the model that began; null for a first attempt. */
  readonly plans: readonly ResumePlan[] | null
  readonly began: string | null
  readonly exclude: ReadonlySet<string>
  /** The most that an attempt at this replica under this plan may cost. */
  readonly ceiling: (replica: Replica, plan: ResumePlan | null) => NanoUsd
  /** How long to wait where no replica is there at all. */
  readonly vacancyMs: number
}

export type Place = {
  readonly replica: Replica
  readonly plan: ResumePlan | null
  readonly reservation: Reservation
  /** Tokens that the fair queue has charged the tenant for. */
  readonly charged: number
}

export type PlacementOwner = {
  placed(place: Place): void
  refused(refusal: Refusal): void
}

type Next = { readonly chosen: Replica; readonly plan: ResumePlan | null }

/** Who failed this request once may try again, when nobody else has come for so long. */
const RETRY_TRIED_MS = 500
const NOBODY: ReadonlySet<string> = new Set()

/** What to reckon with when the tenant named no limit. */
const EXPECTED_TOKENS = 256

export class Placement {
  readonly #d: Dispatcher
  readonly #wanted: Wanted
  readonly #owner: PlacementOwner
  #leaveRoom: (() => void) | null = null
  #waitingSince: Millis | null = null
  #charged = 0
  #over = false

  constructor(dispatcher: Dispatcher, wanted: Wanted, owner: PlacementOwner) {
    this.#d = dispatcher
    this.#wanted = wanted
    this.#owner = owner
  }

  seek(): void {
    if (this.#over) return
    const next = this.#choose()
    if (isRefusal(next)) this.#waitOrRefuse(next)
    else if ('full' in next) this.#queue(next)
    else this.#reserve(next)
  }

  /** A place only if there is one right now: never waits. */
  seekNow(): void {
    const next = this.#choose()
    if ('chosen' in next) this.#reserve(next)
  }

  leave(): void {
    this.#over = true
    this.#leaveRoom?.()
  }

  #choose(): Next | Full | Refusal {
    const { plans } = this.#wanted
    let first: Full | Refusal | null = null
    for (const model of this.#models()) {
      const choice = this.#choiceOf(model)
      const answer = plans ? chooseForPlans(choice, plans) : withoutPlan(chooseReplica(choice))
      if ('chosen' in answer) return answer
      // Somebody who is only busy beats any refusal; else the first model's answer is the one to give.
      if (first === null || (isRefusal(first) && !isRefusal(answer))) first = answer
    }
    return first ?? refuse('model_not_found', 'The request names no model.', { param: 'model' })
  }

  #choiceOf(model: string): RoutingChoice {
    const { request, affinity, exclude } = this.#wanted
    return {
      table: this.#d.table,
      model,
      needs: needsOf(request),
      contextTokensAtLeast: 0,
      expectedTokens: this.#expectedTokens(),
      preferences: request.provider,
      affinity,
      exclude: this.#hasWaited(RETRY_TRIED_MS) ? NOBODY : exclude,
      digest: null,
      engineFamily: null,
      now: this.#d.now(),
      random: this.#d.random,
    }
  }

  /** What has begun goes on with its own model; what starts over may go to a fallback as well. */
  #models(): readonly string[] {
    const { request, plans, began } = this.#wanted
    const startsOver = plans === null || plans.every(({ kind }) => kind === 'restart')
    return startsOver || began === null ? request.models : [began]
  }

  /** The tenant allows one node and no other, and that one failed: nothing will come of waiting. */
  get #pinned(): boolean {
    const { request, exclude } = this.#wanted
    const { allowFallbacks, order } = request.provider
    return !allowFallbacks && order.length === 0 && exclude.size > 0
  }

  #hasWaited(ms: number): boolean {
    return this.#waitingSince !== null && this.#d.now() - this.#waitingSince >= ms
  }

  #expectedTokens(): number {
    const { request } = this.#wanted
    return request.api === 'embedding' ? 1 : (request.sampling.maxTokens ?? EXPECTED_TOKENS)
  }

  /** Nodes that only just vanished may come back; any other refusal of a first attempt is final. */
  #waitOrRefuse(refusal: Refusal): void {
    const hopeless = this.#wanted.plans === null && refusal.code !== 'no_node_available'
    if (hopeless || this.#pinned) this.#refuse(refusal)
    else this.#wait('vacant', this.#wanted.vacancyMs, refusal)
  }

  #queue(full: Full): void {
    const { queueTimeoutMs } = this.#d.config
    const seconds = queueTimeoutMs / 1000
    const late = refuse(
      'queue_full',
      `All nodes that serve '${this.#wanted.request.model}' were busy for ${seconds} s. Try again in ${full.retryAfterS} s.`,
      { retryAfterS: full.retryAfterS, details: { waitedMs: queueTimeoutMs } },
    )
    this.#wait('full', queueTimeoutMs, late)
  }

  #wait(why: 'vacant' | 'full', timeoutMs: number, onTimeout: Refusal): void {
    this.#waitingSince ??= this.#d.now()
    const leftMs = this.#waitingSince + timeoutMs - this.#d.now()
    if (leftMs <= 0) {
      this.#refuse(onTimeout)
      return
    }
    const entered = this.#d.room.enter({
      why,
      tenant: this.#wanted.key.account.id,
      tokens: this.#expectedTokens(),
      timeoutMs: leftMs,
      rank: this.#wanted.plans ? BEGUN : this.#wanted.request.flexible ? FLEXIBLE : ORDINARY,
      shed: (refusal) => {
        this.#leaveRoom = null
        this.#refuse(refusal)
      },
      ready: () => 'chosen' in this.#choose(),
      retry: () => {
        this.#leaveRoom = null
        if (why === 'full') this.#charged += this.#expectedTokens()
        this.seek()
      },
      // What keeps it from being served now counts, not what did when it began to wait: nodes that came back may be full.
      expired: () => {
        this.#leaveRoom = null
        this.seek()
      },
    })
    if (isRefusal(entered)) this.#refuse(why === 'vacant' ? onTimeout : entered)
    else this.#leaveRoom = entered
  }

  #reserve({ chosen: replica, plan }: Next): void {
    const { key, ceiling } = this.#wanted
    const reserved = this.#d.meter.reserve(key.account.id, key.key, ceiling(replica, plan))
    if (!(reserved instanceof Promise)) {
      this.#settle(replica, plan, reserved)
      return
    }
    void reserved.then(
      (reservation) => this.#settle(replica, plan, reservation),
      (error: unknown) => this.#refuse(this.#d.storeDown(error)),
    )
  }

  #settle(replica: Replica, plan: ResumePlan | null, reservation: Reservation | Refusal): void {
    if (isRefusal(reservation)) this.#refuse(reservation)
    else if (this.#over) reservation.close()
    else {
      this.#over = true
      this.#owner.placed({ replica, plan, reservation, charged: this.#charged })
    }
  }

  #refuse(refusal: Refusal): void {
    if (this.#over) return
    this.#over = true
    this.#owner.refused(refusal)
  }
}

const withoutPlan = (answer: Chosen | Full | Refusal): Next | Full | Refusal =>
  'chosen' in answer ? { chosen: answer.chosen, plan: null } : answer
