/** What a choice has given so far, over all its attempts: the log from which another node can go on. */
import { MAX_ATTEMPT_HEADER_BYTES } from '../../core/protocol/link.ts'
import { joinedText, type TokenChunk } from '../../core/protocol/token-chunk.ts'
import { Replay } from '../../core/routing/replay.ts'
import { GrowingText } from './growing-text.ts'

/** A u32 as decimal digits, and its comma. */
const MAX_ID_BYTES = 11
const REST_OF_HEADER_BYTES = 4096

export class Answer {
  readonly ids: number[] = []
  readonly vectors: Float32Array[] = []
  /** Logprob entries as JSON, where asked for. */
  readonly logprobs: string[] = []
  readonly #text = new GrowingText()
  #replay: Replay | null = null

  get text(): string {
    return this.#text.toString()
  }

  /** Adds what an attempt gave and returns what of it is new to the tenant; null when a replay gives something else. */
  add(chunks: readonly TokenChunk[], attemptIds: readonly number[]): readonly TokenChunk[] | null {
    const fresh = this.#replay ? this.#repeated(this.#replay, chunks, attemptIds) : chunks
    if (fresh === null) return null
    for (const { id, logprob } of fresh) {
      this.ids.push(id)
      if (logprob !== '') this.logprobs.push(logprob)
    }
    this.#text.add(joinedText(fresh))
    return fresh
  }

  /** The next attempt gives all of it again, from the start, or does not. */
  expectReplay(expected: boolean): void {
    this.#replay = expected ? new Replay(this.text) : null
  }

  /** Whether all of it can go before a request, for another node to continue. */
  get fitsHeader(): boolean {
    const textBytes = Buffer.byteLength(JSON.stringify(this.text))
    const idsBytes = MAX_ID_BYTES * this.ids.length
    return textBytes + idsBytes + REST_OF_HEADER_BYTES <= MAX_ATTEMPT_HEADER_BYTES
  }

  /** A replay is expected, and has not come to its end. */
  get replaying(): boolean {
    return this.#replay !== null
  }

  /** What the tenant has already has not all come again. */
  get behind(): boolean {
    return this.#replay !== null && !this.#replay.caughtUp
  }

  /** Begins again, when nothing of it was shown. */
  clear(): void {
    this.ids.length = 0
    this.vectors.length = 0
    this.logprobs.length = 0
    this.#text.clear()
  }

  /** Whether there is a vector for each of `count` inputs, and no more. */
  hasVectors(count: number): boolean {
    for (let index = 0; index < count; index++) if (!this.vectors[index]) return false
    return this.vectors.length === count
  }

  /** Once it has caught up, the answer consists of the replay's own tokens. */
  #repeated(
    replay: Replay,
    chunks: readonly TokenChunk[],
    attemptIds: readonly number[],
  ): TokenChunk[] | null {
    const fresh = afterReplay(replay, chunks)
    if (fresh === null || !replay.caughtUp) return fresh
    this.#replay = null
    this.ids.length = 0
    for (const id of attemptIds.slice(0, attemptIds.length - fresh.length)) this.ids.push(id)
    return fresh
  }
}

/** The part of replayed chunks that the tenant does not have yet; null when they differ from what it has. */
function afterReplay(replay: Replay, chunks: readonly TokenChunk[]): TokenChunk[] | null {
  const fresh: TokenChunk[] = []
  for (const chunk of chunks) {
    const before = replay.caughtUp
    const text = replay.feed(chunk.text)
    if (text === null) return null
    if (before || text !== '') fresh.push(text === chunk.text ? chunk : { ...chunk, text })
  }
  return fresh
}
