/**
 * One choice of a response: it runs on a node, and when that node dies it is carried on at another from the
 * tokens already given. It ends exactly once: `finished` or `failed`.
 *
 *   place ──► attempt ──► tokens … ──► END ──► finished
 *     ▲          │ busy, lost, broken
 *     └── go on after ids or text, replay, restart ◄──┘  (or fail)
 */
import { isRefusal, type Refusal } from '../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../core/base/time.ts'
import type { InferenceRequest } from '../../core/protocol/inference-request.ts'
import type { AttemptEnd, AttemptHeader } from '../../core/protocol/link.ts'
import { NO_TOKEN_ID, type TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { Replica } from '../../core/routing/replica.ts'
import { planResume, type ResumePlan } from '../../core/routing/resume.ts'
import { attemptTerms, maxTokensOf, type AttemptTerms } from './attempt-terms.ts'
import { Answer } from './answer.ts'
import { Attempt, refusalOf, type AttemptFailure, type AttemptOwner } from './attempt.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { KeyEntry } from './keyring.ts'
import { askedOf } from './node-word.ts'
import { Placement, type Place, type PlacementOwner, type Wanted } from './placement.ts'
import { Tab } from './tab.ts'

export type ChoiceOwner = {
  /** Chunks for the tenant; `attempt` gets `bytes` of credit back when the tenant has taken them. */
  chunks(choice: Choice, chunks: readonly TokenChunk[], bytes: number, attempt: Attempt): void
  /** To be followed by `settle` when the tenant gets it, now or once all choices are there. */
  finished(choice: Choice): void
  failed(choice: Choice, refusal: Refusal): void
}

export type ChoiceInput = {
  readonly request: InferenceRequest
  readonly requestId: string
  readonly index: number
  readonly seed: number
  readonly body: Buffer
  readonly key: KeyEntry
  readonly affinity: number | null
  readonly owner: ChoiceOwner
}

/** After its first break an answer has this long to be done. */
const MAX_ANSWER_MS = 10 * MINUTE
const NOBODY: ReadonlySet<string> = new Set()

export class Choice implements AttemptOwner, PlacementOwner {
  readonly index: number
  readonly seed: number
  readonly answer = new Answer()
  finish: 'stop' | 'length' = 'stop'
  inputTokens = 0
  over = false

  readonly #d: Dispatcher
  readonly #in: ChoiceInput
  readonly #tab: Tab
  readonly #streamed: boolean
  /** Structured output is shown only when whole, so that it can restart unseen. */
  readonly #held: boolean
  /** The attempt whose tokens count. */
  #live: Attempt | null = null
  /** A hedge: whichever of the two gives a token first becomes, or stays, the live one. */
  #rival: Attempt | null = null
  #placement: Placement | null = null
  #hedgeTimer: NodeJS.Timeout | null = null
  /** Links and nodes not to be asked again. */
  #tried: Set<string> | null = null
  #deadline: Millis | null = null

  constructor(dispatcher: Dispatcher, input: ChoiceInput) {
    this.#d = dispatcher
    this.#in = input
    this.index = input.index
    this.seed = input.seed
    const { request, requestId } = input
    this.#tab = new Tab(dispatcher.desk, { api: request.api, requestId })
    this.#streamed = request.api !== 'embedding' && request.stream
    this.#held = request.api !== 'embedding' && request.sampling.format.type !== 'text'
  }

  get attempts(): readonly Attempt[] {
    return this.#tab.attempts
  }

  /** Where it ran last: tells the model that answered. */
  get replica(): Replica | null {
    const counts = this.attempts.findLast(({ forgiven }) => !forgiven)
    return (counts ?? this.attempts.at(-1))?.replica ?? null
  }

  /** Attempts that gave the tenant something. */
  get paying(): Attempt[] {
    return this.#tab.paying
  }

  start(): void {
    // Another choice of the same answer may have failed already.
    if (!this.over) this.#place(null)
  }

  /** What it gave is the tenant's now, and is paid. */
  settle(): void {
    this.#tab.settle(this.inputTokens)
  }

  /** The tenant went away. What was given until now is owed. */
  cancel(): void {
    if (!this.over) {
      this.#close()
      this.#drop(this.#rival)
      this.#live?.cancel()
    }
    if (!this.#live) this.settle()
  }

  /** The whole request failed: nothing of this choice is charged. */
  discard(): void {
    this.#close()
    this.#drop(this.#rival)
    this.#drop(this.#live)
    this.#tab.forgiveAll()
  }

  #place(plans: readonly ResumePlan[] | null): void {
    const { resumeTimeoutMs, vacancyTimeoutMs } = this.#d.config
    const vacancyMs = this.answer.ids.length > 0 ? resumeTimeoutMs : vacancyTimeoutMs
    const began = this.replica?.model ?? null
    const wanted = this.#wanted({ plans, began, exclude: this.#tried ?? NOBODY, vacancyMs })
    this.#placement = new Placement(this.#d, wanted, this)
    this.#placement.seek()
  }

  #wanted(more: Pick<Wanted, 'plans' | 'began' | 'exclude' | 'vacancyMs'>): Wanted {
    const { request, key, affinity } = this.#in
    const ceiling: Wanted['ceiling'] = (replica, plan) => this.#terms(replica, plan).ceilingNanoUsd
    return { request, key, affinity, ceiling, ...more }
  }

  placed({ replica, plan, reservation, charged }: Place): void {
    const link = this.#d.linkOf(replica)
    if (!link) {
      // It vanished while the ledger was asked.
      reservation.close()
      this.#place(plan ? [plan] : null)
      return
    }
    this.answer.expectReplay(plan?.kind === 'replay')
    if (plan) this.#d.resumed()
    if (plan?.kind === 'restart') this.#startOver()
    const { body, key } = this.#in
    const terms = this.#terms(replica, plan)
    const attempt = new Attempt({
      header: this.#header(replica, plan, terms),
      asked: askedOf(this.#in.request, terms),
      body,
      replica,
      link,
      key,
      reservation,
      charged,
      owner: this,
      now: this.#d.now,
    })
    this.#tab.add(attempt)
    if (this.#live) this.#rival = attempt
    else this.#live = attempt
    this.#d.watch.add(attempt)
    attempt.open()
    if (this.#in.request.provider.hedge && attempt === this.#live && plan === null)
      this.#armHedge(attempt)
  }

  refused(refusal: Refusal): void {
    if (this.over) return
    this.#close()
    this.#drop(this.#rival)
    this.#drop(this.#live)
    if (this.#shown) this.settle()
    else this.#tab.forgiveAll()
    this.#in.owner.failed(this, refusal)
  }

  /** When the first token is late a second node is asked, once. */
  #armHedge(attempt: Attempt): void {
    const { model } = attempt.replica
    const delayMs = this.#d.hedges.delayMs(model)
    if (delayMs === null) return
    this.#hedgeTimer = setTimeout(() => {
      if (!this.#wantsHedge(attempt) || !this.#d.hedges.spend(model)) return
      const exclude = new Set([...(this.#tried ?? NOBODY), attempt.link.link])
      new Placement(this.#d, this.#wanted({ plans: null, began: null, exclude, vacancyMs: 0 }), {
        // The ledger may have been asked meanwhile, and the token may have come.
        placed: (place) =>
          this.#wantsHedge(attempt) ? this.placed(place) : place.reservation.close(),
        // A refusal of the hedge is no refusal of the request.
        refused: () => {},
      }).seekNow()
    }, delayMs)
  }

  #wantsHedge(attempt: Attempt): boolean {
    return (
      !this.over && this.#live === attempt && this.#rival === null && attempt.firstTokenAt === null
    )
  }

  #terms(replica: Replica, plan: ResumePlan | null): AttemptTerms {
    const { request, body } = this.#in
    const tokens = this.answer.ids.length
    return attemptTerms({
      request,
      choice: this.index,
      bodyBytes: body.length,
      tokens,
      replica,
      plan,
    })
  }

  #header(replica: Replica, plan: ResumePlan | null, terms: AttemptTerms): AttemptHeader {
    const { request, requestId, body, key } = this.#in
    const { billInput, maxTokens, given, ceilingNanoUsd } = terms
    const tokenIds = plan?.kind === 'resume_ids' ? this.answer.ids : []
    return {
      attempt: this.#d.attemptIds.make({ keyTag: key.tag, ceilingNanoUsd }),
      request: requestId,
      api: request.api,
      model: replica.model,
      bodyBytes: body.length,
      choice: this.index,
      seed: this.seed,
      maxTokens,
      billInput,
      resume: given === 0 ? null : { tokenIds, text: this.answer.text },
    }
  }

  // What the attempts report.

  chunks(attempt: Attempt, chunks: readonly TokenChunk[], bytes: number): void {
    if (this.#rival) this.#won(attempt)
    if (this.over) {
      attempt.grant(bytes)
      return
    }
    if (this.answer.ids.length === 0 && attempt.firstTokenAt !== null) {
      this.#d.hedges.firstToken(attempt.replica.model, attempt.firstTokenAt - attempt.startedAt)
    }
    const { replaying } = this.answer
    const fresh = this.answer.add(chunks, attempt.ids)
    if (fresh === null) {
      attempt.abandon('the answer came out differently the second time')
      return
    }
    // A replayed answer is paid once: to the node that gives it whole, as soon as it has caught up.
    if (replaying && !this.answer.replaying) this.#tab.forgiveAll(attempt)
    if (this.#held || fresh.length === 0) attempt.grant(bytes)
    else this.#in.owner.chunks(this, fresh, bytes, attempt)
  }

  /** Of two that ran, this one answered first; the other's work is neither charged nor paid. */
  #won(attempt: Attempt): void {
    const loser = attempt === this.#rival ? this.#live : this.#rival
    this.#live = attempt
    this.#rival = null
    this.#drop(loser)
  }

  vector(attempt: Attempt, index: number, vector: Float32Array): void {
    this.answer.vectors[index] = vector
    attempt.grant(vector.byteLength)
  }

  ended(attempt: Attempt, end: AttemptEnd): void {
    if (this.#rival) this.#won(attempt)
    const missing = this.over ? null : this.#missing(end)
    if (missing !== null || this.answer.behind) {
      this.broke(attempt, attempt.disown(missing ?? 'the tenant left'))
      return
    }
    this.#leave(attempt)
    this.inputTokens = end.inputTokens
    if (this.over) this.settle()
    else this.#finish(end.finish === 'length' ? 'length' : 'stop')
  }

  /** Why an END is no end of the answer. */
  #missing({ finish }: AttemptEnd): string | null {
    const { request } = this.#in
    if (finish === 'cancelled') return 'the node cancelled the attempt'
    if (this.answer.behind) return 'the answer came out shorter the second time'
    if (request.api !== 'embedding' || this.answer.hasVectors(request.input.length)) return null
    return 'the node left out some of the embeddings'
  }

  /** Some of it has reached the tenant. */
  get #shown(): boolean {
    return this.#streamed && !this.#held && this.answer.ids.length > 0
  }

  broke(attempt: Attempt, failure: AttemptFailure): void {
    this.#leave(attempt)
    // What never reached us, or came a second time, is not paid, whatever receipt follows.
    if (attempt.ids.length === 0 || this.answer.behind || attempt.fault !== null)
      this.#tab.forgive(attempt)
    if (this.over) {
      this.settle()
      return
    }
    if (failure.kind === 'error' && !failure.error.retryable) {
      this.refused(refusalOf(failure))
      return
    }
    // A busy node is asked again when it has room; a lost one only under a new link.
    const { link, node } = attempt.link
    this.#tried ??= new Set()
    if (failure.kind !== 'busy') this.#tried.add(failure.kind === 'lost' ? link : node)
    // While its rival runs, nothing is lost.
    if (!this.#live) this.#goOn(failure.reason)
  }

  /** The attempt runs no more: its slot is free, and of two only the other is left. */
  #leave(attempt: Attempt): void {
    this.#d.watch.remove(attempt)
    if (attempt === this.#live) {
      this.#live = this.#rival
      this.#rival = null
    } else if (attempt === this.#rival) this.#rival = null
    this.#d.room.charge(this.#in.key.account.id, attempt.ids.length - attempt.charged)
    const { fault, link } = attempt
    if (fault !== null) this.#d.table.quarantine(link.node, link.link, fault, this.#d.now())
    this.#d.attemptOver(attempt)
  }

  #goOn(reason: string): void {
    const plans = this.#planNext(reason)
    if (isRefusal(plans)) this.refused(plans)
    // Only its END was lost: all that was asked for had come.
    else if ('kind' in plans) this.#finish('length')
    else this.#place(plans)
  }

  #planNext(reason: string): ReturnType<typeof planResume> {
    const { request } = this.#in
    const began =
      this.attempts.findLast((attempt) => attempt.ids.length > 0) ?? this.attempts.at(-1)
    if (!began) throw new Error('a choice broke without an attempt')
    const tries = this.attempts.filter(({ failure }) => failure?.kind !== 'busy')
    const now = this.#d.now()
    this.#deadline ??= now + MAX_ANSWER_MS
    return planResume({
      api: request.api,
      preference: request.provider.resume,
      structured: this.#held,
      sampled: request.api !== 'embedding' && request.sampling.temperature > 0,
      shown: this.#shown,
      tokens: this.answer.ids.length,
      idsKnown: !this.answer.ids.includes(NO_TOKEN_ID),
      fits: this.answer.fitsHeader,
      maxTokens: maxTokensOf(request),
      digest: began.replica.digest,
      engineFamily: began.replica.engineFamily,
      attempts: tries.length,
      fruitless: tries.length - 1 - tries.findLastIndex(({ ids }) => ids.length > 0),
      reason,
      now,
      deadline: this.#deadline,
    })
  }

  /** Nothing was shown: what came until now is thrown away, and nobody is charged for it. */
  #startOver(): void {
    this.#tab.forgiveAll()
    this.answer.clear()
  }

  /** Ends it from here: its work is neither charged nor paid. */
  #drop(attempt: Attempt | null): void {
    if (!attempt || attempt.over) return
    attempt.drop()
    this.#leave(attempt)
    this.#tab.forgive(attempt)
  }

  #finish(finish: 'stop' | 'length'): void {
    this.#close()
    this.finish = finish
    this.#in.owner.finished(this)
  }

  #close(): void {
    this.over = true
    this.#placement?.leave()
    if (this.#hedgeTimer) clearTimeout(this.#hedgeTimer)
  }
}
