/** Which prompts share a beginning worth keeping together, as one number for the ring. */
import type { InferenceRequest } from '../protocol/inference-request.ts'
import { hashText } from './ring.ts'

/** Shorter prompts are read again faster than their cache is worth: some 64 tokens. */
export const MIN_AFFINITY_CHARACTERS = 256
/** Of each part, so much decides: 1 µs per 1000 characters. */
export const MAX_HASHED_CHARACTERS = 2048

/**
 * Chats: the leading instructions and the first message after them, which stay the same in every turn of a
 * conversation. Completions: the prompt's beginning. Null when nothing is worth it. O(1) in the prompt's length.
 */
export function affinityOf(request: InferenceRequest): number | null {
  switch (request.api) {
    case 'chat':
      return chatAffinity(request.messages)
    case 'completion': {
      const [prompt] = request.prompts
      return typeof prompt === 'string' && prompt.length >= MIN_AFFINITY_CHARACTERS
        ? hashStart(prompt)
        : null
    }
    case 'embedding':
      return null
  }
}

function chatAffinity(messages: readonly { role: string; content: string }[]): number | null {
  let hash = 0
  let hashed = 0
  let characters = 0
  let opening = true
  for (const { role, content } of messages) {
    characters += content.length
    if (opening && hashed < MAX_HASHED_CHARACTERS) {
      hash = (Math.imul(hash, 31) ^ hashStart(content)) >>> 0
      hashed += content.length
    } else if (characters >= MIN_AFFINITY_CHARACTERS) break
    opening &&= role === 'system' || role === 'developer'
  }
  return characters >= MIN_AFFINITY_CHARACTERS ? hash : null
}

const hashStart = (text: string): number =>
  hashText(text, Math.min(text.length, MAX_HASHED_CHARACTERS))
