/** Which prompts share a beginning worth keeping together, as one number for the ring. */
import type { InferenceRequest } from '../protocol/inference-request.ts'
import { hashText } from './ring.ts'

/** Shorter prompts are read again faster than their cache is worth: some 64 tokens. */
export const MIN_AFFINITY_CHARACTERS = 256
/** Of each message so many characters decide: 1.5 µs. */
export const MAX_HASHED_CHARACTERS = 1024
/** Instructions and first message: more of them are looked at no further. */
const MAX_OPENING = 4

/**
 * Chats: the leading instructions and the first message after them, which stay the same in every turn of a
 * conversation. Completions: the prompt's beginning. Null when nothing is worth it.
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
  for (const { role, content } of messages.slice(0, MAX_OPENING)) {
    hash = (Math.imul(hash, 31) ^ hashStart(content)) >>> 0
    if (role !== 'system' && role !== 'developer') break
  }
  return isLong(messages) ? hash : null
}

function isLong(messages: readonly { content: string }[]): boolean {
  let characters = 0
  for (const { content } of messages) {
    characters += content.length
    if (characters >= MIN_AFFINITY_CHARACTERS) return true
  }
  return false
}

const hashStart = (text: string): number =>
  hashText(text, Math.min(text.length, MAX_HASHED_CHARACTERS))
