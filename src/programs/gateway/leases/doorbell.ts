/** Somebody waits, and somebody else may wake them before their time. */
import type { Millis } from '../../../core/base/time.ts'

export class Doorbell {
  #wake: (() => void) | null = null

  /** Resolves after so long, or when it rings. One waits at a time. */
  async wait(ms: Millis): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = null
  }

  ring(): void {
    this.#wake?.()
  }
}
