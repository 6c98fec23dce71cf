/** Frames with a header of fixed size that tells how long they are, read off a stream that arrives in any pieces. */

export type FrameFormat = {
  readonly headerBytes: number
  /** How many bytes follow the header; a text says what is malformed about it. */
  readonly payloadBytes: (header: DataView) => number | string
}

/** Holds at most one frame. */
export class FrameDecoder {
  readonly #format: FrameFormat
  readonly #visit: (header: DataView, payload: Uint8Array) => void
  /** The frame under way: its header, then header and payload. */
  #frame: Uint8Array<ArrayBuffer>
  #have = 0

  /** Visits each whole frame; its views are only valid during the call. */
  constructor(format: FrameFormat, visit: (header: DataView, payload: Uint8Array) => void) {
    this.#format = format
    this.#visit = visit
    this.#frame = new Uint8Array(format.headerBytes)
  }

  /** Null, or what is malformed: then the stream is lost, and nothing more may be pushed. */
  push(bytes: Uint8Array): string | null {
    const { headerBytes, payloadBytes } = this.#format
    let at = 0
    while (at < bytes.length) {
      at += this.#take(bytes.subarray(at))
      if (this.#have < this.#frame.length) return null
      const length = payloadBytes(new DataView(this.#frame.buffer, 0, headerBytes))
      if (typeof length === 'string') return length
      if (this.#have < headerBytes + length) this.#grow(headerBytes + length)
      else this.#deliver()
    }
    return null
  }

  /** Whether the stream may end here: between frames. */
  get atRest(): boolean {
    return this.#have === 0
  }

  #take(bytes: Uint8Array): number {
    const part = bytes.subarray(0, this.#frame.length - this.#have)
    this.#frame.set(part, this.#have)
    this.#have += part.length
    return part.length
  }

  #grow(size: number): void {
    const frame = new Uint8Array(size)
    frame.set(this.#frame)
    this.#frame = frame
  }

  #deliver(): void {
    const frame = this.#frame
    const { headerBytes } = this.#format
    this.#frame = new Uint8Array(headerBytes)
    this.#have = 0
    this.#visit(new DataView(frame.buffer, 0, headerBytes), frame.subarray(headerBytes))
  }
}
