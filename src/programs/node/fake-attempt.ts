/** The link's side of one attempt, for the node's tests: notes in order what the node says. */
import type { AttemptHeader } from '../../core/protocol/link.ts'
import type { TokenChunk } from '../../core/protocol/token-chunk.ts'
import type { IncomingAttempt } from '../../io/link/incoming-attempt.ts'

export type FakeAttempt = IncomingAttempt & {
  /** `accept`, `tokens`, `vector`, `end`, `error`, `busy`, as they came. */
  readonly said: { readonly what: string; readonly body?: unknown }[]
  readonly chunks: TokenChunk[]
  /** Awaited by the node after each `tokens`: back-pressure. */
  room: () => Promise<void> | void
  cancel(): void
}

export function createFakeAttempt(body: unknown, header: Partial<AttemptHeader> = {}): FakeAttempt {
  const controller = new AbortController()
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body))
  const attempt: FakeAttempt = {
    header: {
      attempt: 'att_0000000000',
      request: 'req_0000000000',
      api: 'chat',
      model: 'words',
      bodyBytes: bytes.length,
      choice: 0,
      seed: 7,
      maxTokens: 100,
      billInput: true,
      resume: null,
      ...header,
    },
    body: bytes,
    signal: controller.signal,
    cancelled: false,
    said: [],
    chunks: [],
    room: () => {},
    cancel: () => controller.abort(),
    accept: () => void attempt.said.push({ what: 'accept' }),
    busy: (error) => void attempt.said.push({ what: 'busy', body: error }),
    tokens: (chunks) => {
      attempt.said.push({ what: 'tokens' })
      attempt.chunks.push(...chunks)
      return attempt.room()
    },
    vector: (index, vector) => void attempt.said.push({ what: 'vector', body: [index, ...vector] }),
    end: (end) => void attempt.said.push({ what: 'end', body: end }),
    error: (error) => void attempt.said.push({ what: 'error', body: error }),
  }
  return attempt
}

export const chatBody = (text = 'hello there'): object => ({
  model: 'words',
  messages: [{ role: 'user', content: text }],
})
