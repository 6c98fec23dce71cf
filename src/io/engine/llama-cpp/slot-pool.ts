/** A fixed number of slots and a short queue before them. */
import { Fault } from '../../../core/base/refusal.ts'
import type { EngineLoad } from '../engine.ts'

/** A slot on loan. Releasing twice is harmless, so that both an abort and the end may do it. */
export type Lease<Slot> = { readonly slot: Slot; readonly release: () => void }

export class SlotPool<Slot> {
  readonly #name: string
  readonly #free: Slot[]
  readonly #maxQueued: number
  readonly #queue: ((lease: Lease<Slot>) => void)[] = []

  constructor(name: string, slots: readonly Slot[], maxQueued: number) {
    this.#name = name
    this.#free = [...slots]
    this.#maxQueued = maxQueued
  }

  load(): EngineLoad {
    return { free: this.#free.length, queued: this.#queue.length }
  }

  /** Null when aborted while waiting. Throws Fault 'busy' when slots and queue are full. */
  async acquire(signal: AbortSignal): Promise<Lease<Slot> | null> {
    if (signal.aborted) return null
    const slot = this.#free.shift()
    if (slot !== undefined) return this.#lend(slot)
    if (this.#queue.length >= this.#maxQueued) {
      throw new Fault(
        'busy',
        `All slots of ${this.#name} are busy and ${this.#queue.length} tasks wait already; try another node or later.`,
        { retryable: true },
      )
    }
    return await this.#wait(signal)
  }

  #wait(signal: AbortSignal): Promise<Lease<Slot> | null> {
    return new Promise((resolve) => {
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(take), 1)
        resolve(null)
      }
      const take = (lease: Lease<Slot>) => {
        signal.removeEventListener('abort', leave)
        resolve(lease)
      }
      this.#queue.push(take)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  #lend(slot: Slot): Lease<Slot> {
    let lent = true
    const release = () => {
      if (!lent) return
      lent = false
      const next = this.#queue.shift()
      if (next) next(this.#lend(slot))
      else this.#free.push(slot)
    }
    return { slot, release }
  }
}
