/** Which images the container engine holds, as its gateways may hear of them: marks, and only when they have changed. */
import { reasonOf } from '../../../core/base/refusal.ts'
import { fullReference, imageMark, MAX_IMAGE_MARKS } from '../../../core/protocol/image-mark.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import type { Runtime } from '../../../io/runtime/runtime.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

export class HeldImages {
  readonly #runtime: Pick<Runtime, 'images'>
  readonly #logger: Logger
  #names: readonly string[] = []
  #version = 0
  /** What each link has heard. */
  readonly #told = new Map<string, number>()
  #looking = false
  #lookAgain = false

  constructor(runtime: Pick<Runtime, 'images'>, logger: Logger) {
    this.#runtime = runtime
    this.#logger = logger
  }

  /** Asks the engine. What cannot be read stays as it was; never rejects. */
  async look(): Promise<void> {
    this.#lookAgain = true
    if (this.#looking) return
    this.#looking = true
    try {
      while (this.#lookAgain) {
        this.#lookAgain = false
        const held = (await this.#runtime.images()).map(fullReference)
        const names = [...new Set(held)].slice(0, MAX_IMAGE_MARKS).toSorted()
        if (names.join() === this.#names.join()) continue
        this.#names = names
        this.#version += 1
      }
    } catch (error) {
      this.#logger.warn('images not listed', { error: reasonOf(error) })
    } finally {
      this.#looking = false
    }
  }

  /** A new link has heard nothing. */
  linked(gateway: string): void {
    this.#told.delete(gateway)
  }

  /** For the next heartbeat to this gateway; null when it has heard that already. */
  news(gateway: string): string[] | null {
    if (this.#told.get(gateway) === this.#version) return null
    this.#told.set(gateway, this.#version)
    return this.#names.map((name) => imageMark(gateway, name, sha256Hex))
  }
}
