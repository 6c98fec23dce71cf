/**
 * Who may compute on a context now. A step decodes and samples one token or one piece of a prompt.
 *
 * Exact: one step at a time. llama.cpp rounds differently when several tokens share a batch, so a text would
 * depend on its company; alone, a step gives the same bits every time, which is what makes a resumed text equal.
 * Shared: steps run together and the library batches them, which is what GPUs are for.
 *
 * Clearing a sequence must be alone in both: the library waits for a moment without steps, which would never
 * come while others generate. First come, first served, so nobody starves.
 */
import { Fault } from '../../../core/base/refusal.ts'

export class StepGate {
  readonly #shared: boolean
  readonly #waiting: { readonly alone: boolean; readonly start: () => void }[] = []
  #running = 0
  #runningAlone = false
  #closed = false

  constructor({ shared }: { shared: boolean }) {
    this.#shared = shared
  }

  step<T>(work: () => Promise<T>): Promise<T> {
    return this.#enter(!this.#shared, work)
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#enter(true, work)
  }

  /** Resolves when nothing runs any more; later steps fail. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#turn(true)
    this.#leave()
  }

  async #enter<T>(alone: boolean, work: () => Promise<T>): Promise<T> {
    await this.#turn(alone)
    try {
      if (this.#closed) throw new Fault('engine_closed', 'The engine is closed.')
      return await work()
    } finally {
      this.#leave()
    }
  }

  async #turn(alone: boolean): Promise<void> {
    await new Promise<void>((start) => {
      this.#waiting.push({ alone, start })
      this.#admit()
    })
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#runningAlone || (next.alone && this.#running > 0)) return
      this.#waiting.shift()
      this.#running += 1
      this.#runningAlone = next.alone
      next.start()
    }
  }

  #leave(): void {
    this.#running -= 1
    this.#runningAlone = false
    this.#admit()
  }
}
