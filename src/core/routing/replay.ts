/**
 * Watches an answer that is generated again from its start: what the tenant has already is dropped while it is
 * the same, and the first difference ends it.
 */
export class Replay {
  readonly #shown: string
  #matched = 0

  /** `shown`: all the text that the tenant has. */
  constructor(shown: string) {
    this.#shown = shown
  }

  /** Whether all of the shown text has come again: an answer that ends before is unlike it. */
  get caughtUp(): boolean {
    return this.#matched === this.#shown.length
  }

  /** The part of the text that is new to the tenant, maybe none; null when the texts differ. */
  feed(text: string): string | null {
    const old = Math.min(text.length, this.#shown.length - this.#matched)
    if (!this.#shown.startsWith(text.slice(0, old), this.#matched)) return null
    this.#matched += old
    return text.slice(old)
  }
}
