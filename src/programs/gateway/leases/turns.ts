/** Decisions about one thing, one after another. The store being away delays a decision and never loses it. */
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { LeaseParts } from './lease-parts.ts'

const RETRY_MS = 500

export class Turns {
  readonly #parts: Pick<LeaseParts, 'signal' | 'pause' | 'logger'>
  readonly #name: string
  #last: Promise<void> = Promise.resolve()

  constructor(parts: Pick<LeaseParts, 'signal' | 'pause' | 'logger'>, name: string) {
    this.#parts = parts
    this.#name = name
  }

  /** Runs `work` when all before it is done, from its beginning again after a Fault that may pass. Never rejects. */
  take(work: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(() => this.#run(work))
    return this.#last
  }

  async #run(work: () => Promise<void>): Promise<void> {
    const { signal, pause, logger } = this.#parts
    while (!signal.aborted) {
      try {
        await work()
        return
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof Fault && error.retryable)) {
          logger.error('a decision failed', { about: this.#name, error: reasonOf(error) })
          return
        }
        await pause(RETRY_MS)
      }
    }
  }
}
