/** The engine's slots, and the short queue before them. */
import { Fault } from '../../../core/base/refusal.ts'

export class Slots {
  readonly total: number
  readonly #queueLimit: number
  readonly #waiting: (() => void)[] = []
  #taken = 0

  constructor(total: number, queueLimit: number) {
    this.total = total
    this.#queueLimit = queueLimit
  }

  get free(): number {
    return this.total - this.#taken
  }

  get queued(): number {
    return this.#waiting.length
  }

  /**
   * Takes a slot, first come first served, and resolves with what gives it back (once). Throws Fault 'busy'
   * at once when the queue is full, and the signal's reason when the caller gives up waiting.
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken < this.total) this.#taken += 1
    else if (this.#waiting.length < this.#queueLimit) await this.#wait(signal)
    else
      throw new Fault(
        'busy',
        `all ${this.total} slots are taken and ${this.queued} wait already; try another node`,
        { retryable: true },
      )
    let held = true
    return () => {
      if (held) this.#release()
      held = false
    }
  }

  /** A slot goes from its holder straight to the next in line, so nobody can slip in between. */
  #release(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#taken -= 1
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const granted = () => {
        signal.removeEventListener('abort', gaveUp)
        resolve()
      }
      const gaveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(granted), 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', gaveUp, { once: true })
      this.#waiting.push(granted)
    })
  }
}
