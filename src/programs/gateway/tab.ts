/**
 * What a choice's attempts are owed. Each is settled once, when what it gave has reached the tenant, or forgiven:
 * then it is neither charged nor paid, whatever receipt comes. Until that is known its receipt waits at the desk.
 */
import type { Api } from '../../core/protocol/inference-request.ts'
import type { Attempt } from './attempt.ts'
import type { ReceiptDesk } from './receipt-desk.ts'

export class Tab {
  readonly #attempts: Attempt[] = []
  readonly #desk: Pick<ReceiptDesk, 'begin' | 'expect' | 'witness' | 'forgive'>
  readonly #of: { readonly api: Api; readonly requestId: string }

  constructor(
    desk: Pick<ReceiptDesk, 'begin' | 'expect' | 'witness' | 'forgive'>,
    of: { readonly api: Api; readonly requestId: string },
  ) {
    this.#desk = desk
    this.#of = of
  }

  get attempts(): readonly Attempt[] {
    return this.#attempts
  }

  /** Attempts that gave the tenant something. */
  get paying(): Attempt[] {
    return this.attempts.filter((attempt) => !attempt.forgiven && hasGiven(attempt))
  }

  add(attempt: Attempt): void {
    this.#attempts.push(attempt)
    this.#desk.begin(attempt.id, this.#of.requestId)
  }

  /** The tenant has what is there: whatever attempts are over are paid, by their receipts or by the gateway's count. */
  settle(inputTokens: number): void {
    for (const attempt of this.#open()) {
      attempt.settled = true
      const done = attempt.done(this.#of.api, this.#of.requestId, inputTokens)
      if (attempt.result) this.#desk.expect(done)
      else this.#desk.witness(done)
    }
  }

  forgive(attempt: Attempt): void {
    if (attempt.forgiven || attempt.settled) return
    attempt.forgiven = true
    attempt.refund()
    this.#desk.forgive(attempt.id)
  }

  /** Nothing of it counts, but for what was settled before. `but`: the one that took over from all others. */
  forgiveAll(but: Attempt | null = null): void {
    for (const attempt of this.attempts) if (attempt !== but) this.forgive(attempt)
  }

  /** Over, worth something, and not decided yet. */
  #open(): Attempt[] {
    return this.attempts.filter(
      (attempt) => attempt.over && !attempt.settled && !attempt.forgiven && hasGiven(attempt),
    )
  }
}

const hasGiven = ({ result, ids }: Attempt): boolean => result !== null || ids.length > 0
