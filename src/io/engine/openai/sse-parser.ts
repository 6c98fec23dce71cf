/**
 * Server-sent events out of bytes as they arrive: any line ending, characters split between packets, comments,
 * several data lines. https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
import { Fault } from '../../../core/base/refusal.ts'

export type SseEvent = { readonly type: string; readonly data: string }

/** One event beyond this is a server gone wrong, not an answer. */
export const MAX_EVENT_CHARACTERS = 4 * 1024 * 1024

export class SseParser {
  readonly #decoder = new TextDecoder('utf-8')
  /** A line that has not ended yet. */
  #rest = ''
  #type = ''
  #data: string[] = []
  #dataLength = 0

  /** The events that these bytes complete. Throws a Fault when one grows over the limit. */
  push(bytes: Uint8Array): SseEvent[] {
    this.#rest += this.#decoder.decode(bytes, { stream: true })
    // A carriage return at the end may be half of CR LF: wait for what follows.
    const whole = this.#rest.endsWith('\r') ? this.#rest.slice(0, -1) : this.#rest
    const lines = whole.split(/\r\n|\r|\n/)
    this.#rest = (lines.pop() ?? '') + (whole === this.#rest ? '' : '\r')
    const events = this.#readLines(lines)
    if (this.#rest.length + this.#dataLength > MAX_EVENT_CHARACTERS)
      throw new Fault(
        'upstream_malformed',
        `one event is over ${MAX_EVENT_CHARACTERS} characters`,
        {
          retryable: true,
        },
      )
    return events
  }

  /** A clean end of the stream: some servers leave out the empty line after their last event. */
  end(): SseEvent[] {
    const last = this.#rest.replace(/\r$/, '')
    this.#rest = ''
    return this.#readLines([last, ''])
  }

  #readLines(lines: readonly string[]): SseEvent[] {
    const events: SseEvent[] = []
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) events.push(this.#take())
        this.#type = ''
        continue
      }
      this.#readField(line)
    }
    return events
  }

  #readField(line: string): void {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'event') this.#type = value
    if (field !== 'data') return
    this.#data.push(value)
    this.#dataLength += value.length
  }

  #take(): SseEvent {
    const event = { type: this.#type === '' ? 'message' : this.#type, data: this.#data.join('\n') }
    this.#data = []
    this.#dataLength = 0
    return event
  }
}
