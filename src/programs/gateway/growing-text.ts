/**
 * A text that grows token by token. V8 keeps each `+=` as a node of 32 bytes until somebody reads the text, which
 * for a running answer nobody does: here the pieces are copied together every few kilobytes.
 */
const COPIED_AT_CHARACTERS = 2_048

export class GrowingText {
  #whole = ''
  #tail = ''

  get length(): number {
    return this.#whole.length + this.#tail.length
  }

  /** `piece` is of whole characters. */
  add(piece: string): void {
    this.#tail += piece
    if (this.#tail.length < COPIED_AT_CHARACTERS) return
    this.#whole += Buffer.from(this.#tail).toString()
    this.#tail = ''
  }

  clear(): void {
    this.#whole = ''
    this.#tail = ''
  }

  toString(): string {
    return this.#whole + this.#tail
  }
}
