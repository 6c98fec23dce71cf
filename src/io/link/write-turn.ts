/**
 * One flush per event-loop turn for all links: frames written in one turn leave in one WebSocket message
 * each link, which costs a third of a message per frame. `setImmediate` runs right after the turn's reads.
 */
export type Flushable = { flush(): void }

export class WriteTurn {
  #dirty: Flushable[] = []

  /** Flushes this at the end of the turn. The caller asks once per turn. */
  later(one: Flushable): void {
    if (this.#dirty.length === 0) setImmediate(this.#flush)
    this.#dirty.push(one)
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty
    this.#dirty = []
    for (const one of dirty) one.flush()
  }
}
