/** Moves a body from one connection to another, piece by piece, and knows which of the two it waits for. */
import type { Readable, Writable } from 'node:stream'

/** How long one side may keep the other waiting for its next piece; 0 ms: without limit. */
export type Patience = { readonly ms: number; readonly tooLong: () => void }

export type BodyRoute = {
  readonly from: Readable
  readonly to: Writable
  readonly patienceWithSource: Patience
  readonly patienceWithSink: Patience
  /** 0: any size. */
  readonly maxBytes: number
  readonly tooLarge: () => void
  /** All was handed on, and the sink has been ended. */
  readonly done: () => void
}

export class BodyPump {
  readonly #route: BodyRoute
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #waitsFor: Patience | null = null

  constructor(route: BodyRoute) {
    this.#route = route
  }

  start(): void {
    const { from, to, patienceWithSource } = this.#route
    from.on('data', this.#onData).once('end', this.#onEnd)
    to.on('drain', this.#onDrain)
    this.#wait(patienceWithSource)
  }

  /** Takes its hands off both sides; what still comes is the caller's to read. */
  stop(): void {
    const { from, to } = this.#route
    clearTimeout(this.#timer)
    from.off('data', this.#onData).off('end', this.#onEnd)
    to.off('drain', this.#onDrain)
  }

  readonly #onData = (piece: Buffer): void => {
    const { from, to, maxBytes, tooLarge, patienceWithSource, patienceWithSink } = this.#route
    this.#bytes += piece.length
    if (maxBytes > 0 && this.#bytes > maxBytes) {
      this.stop()
      tooLarge()
    } else if (to.write(piece)) {
      this.#wait(patienceWithSource)
    } else {
      from.pause()
      this.#wait(patienceWithSink)
    }
  }

  readonly #onDrain = (): void => {
    const { from, patienceWithSource } = this.#route
    if (from.readableEnded) return
    from.resume()
    this.#wait(patienceWithSource)
  }

  readonly #onEnd = (): void => {
    const { to, patienceWithSink, done } = this.#route
    this.#wait(patienceWithSink)
    to.end(() => {
      this.stop()
      done()
    })
  }

  #wait(patience: Patience): void {
    if (this.#waitsFor === patience && this.#timer !== undefined) {
      // The usual case, one more piece from the same side: cheaper than a new timer.
      this.#timer.refresh()
      return
    }
    clearTimeout(this.#timer)
    this.#waitsFor = patience
    this.#timer = undefined
    if (patience.ms === 0) return
    this.#timer = setTimeout(() => {
      this.stop()
      patience.tooLong()
    }, patience.ms)
  }
}
