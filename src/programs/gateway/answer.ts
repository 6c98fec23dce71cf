/** What a choice has given so far, over all its attempts: the log from which another node can go on. */
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { Replay } from '../../core/routing/replay.ts'

export class Answer {
  readonly ids: number[] = []
  readonly vectors: Float32Array[] = []
  /** Logprob entries as JSON, where asked for. */
  readonly logprobs: string[] = []
  text = ''

  add(chunks: readonly TokenChunk[]): void {
    for (const { id, text, logprob } of chunks) {
      this.ids.push(id)
      this.text += text
      if (logprob !== '') this.logprobs.push(logprob)
    }
  }

  /** Begins again, when nothing of it was shown. */
  clear(): void {
    this.ids.length = 0
    this.vectors.length = 0
    this.logprobs.length = 0
    this.text = ''
  }

  /** Whether there is a vector for each of `count` inputs, and no more. */
  hasVectors(count: number): boolean {
    for (let index = 0; index < count; index++) if (!this.vectors[index]) return false
    return this.vectors.length === count
  }
}

/** The part of replayed chunks that the tenant does not have yet; null when they differ from what it has. */
export function afterReplay(replay: Replay, chunks: readonly TokenChunk[]): TokenChunk[] | null {
  const fresh: TokenChunk[] = []
  for (const chunk of chunks) {
    const before = replay.caughtUp
    const text = replay.feed(chunk.text)
    if (text === null) return null
    if (before || text !== '') fresh.push(text === chunk.text ? chunk : { ...chunk, text })
  }
  return fresh
}
