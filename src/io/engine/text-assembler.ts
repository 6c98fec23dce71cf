/**
 * Turns the bytes of tokens into text that may be sent: whole characters only, and nothing that a stop
 * sequence could still take back. What has been emitted depends only on the bytes so far, never on how they
 * were split: feeding the tokens of an interrupted attempt again gives exactly the state of the node that died.
 */
export class TextAssembler {
  readonly #stops: readonly string[]
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  /** Decoded, but perhaps the beginning of a stop sequence. */
  #held = ''
  #stopped = false

  constructor(stops: readonly string[]) {
    // Half a surrogate pair never occurs in decoded text, and must not match inside a whole one.
    this.#stops = stops.filter((stop) => stop !== '' && !/\p{Surrogate}/u.test(stop))
  }

  /** A stop sequence is complete; the text ended before it. */
  get stopped(): boolean {
    return this.#stopped
  }

  /** Takes one token's bytes; gives the text that is now certain, often none. */
  push(bytes: Uint8Array): string {
    if (this.#stopped) return ''
    const text = this.#held + this.#decoder.decode(bytes, { stream: true })
    const stop = firstStop(text, this.#stops)
    if (stop !== null) {
      this.#stopped = true
      this.#held = ''
      return text.slice(0, stop)
    }
    const certain = text.length - heldBack(text, this.#stops)
    this.#held = text.slice(certain)
    return text.slice(0, certain)
  }

  /** The end came without a stop sequence: gives what was held back. A character cut in half is dropped. */
  finish(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/** Where the stop sequence begins that is complete first, as if the text came character by character. */
function firstStop(text: string, stops: readonly string[]): number | null {
  let start: number | null = null
  let end = Infinity
  for (const stop of stops) {
    const at = text.indexOf(stop)
    if (at === -1 || at + stop.length > end) continue
    if (at + stop.length < end || start === null || at < start) start = at
    end = at + stop.length
  }
  return start
}

/** How many characters at the end may be the beginning of a stop sequence. */
function heldBack(text: string, stops: readonly string[]): number {
  let most = 0
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > most; length--) {
      if (text.endsWith(stop.slice(0, length))) most = length
    }
  }
  return most
}
