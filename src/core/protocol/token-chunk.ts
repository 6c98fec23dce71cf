/**
 * The payload of a TOKENS frame, compact because it is the hottest thing on the link:
 *
 *   repeated: [u32 token id][u16 text bytes][u16 logprob bytes][text UTF-8][logprob JSON]
 *
 * Text is only ever whole characters, after stop sequences: a token in the middle of a character, or held
 * back because it may begin a stop sequence, has an empty text and a later one carries it. An engine that
 * knows no ids sends NO_TOKEN_ID. The logprob part, when asked for, is OpenAI's `content[]` entry as JSON.
 */
export type TokenChunk = {
  readonly id: number
  readonly text: string
  /** OpenAI's logprob entry for this token as JSON text, or empty. */
  readonly logprob: string
}

/** An engine behind an HTTP API may hide its ids; such an attempt is resumed by text, not by ids. */
export const NO_TOKEN_ID = 0xffff_ffff

export const TOKEN_HEADER_BYTES = 8
/** No single token's text or logprob entry may exceed what its u16 length can say. */
export const MAX_TOKEN_PART_BYTES = 0xffff

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Writes chunks one after another. Throws a RangeError when a part is over its limit. */
export function encodeTokenChunks(chunks: readonly TokenChunk[]): Uint8Array {
  const parts = chunks.map((chunk) => ({
    id: chunk.id,
    text: encoder.encode(chunk.text),
    logprob: encoder.encode(chunk.logprob),
  }))
  const bytes = new Uint8Array(
    parts.reduce(
      (sum, part) => sum + TOKEN_HEADER_BYTES + part.text.length + part.logprob.length,
      0,
    ),
  )
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const { id, text, logprob } of parts) {
    if (text.length > MAX_TOKEN_PART_BYTES || logprob.length > MAX_TOKEN_PART_BYTES) {
      throw new RangeError(`token ${id}: text ${text.length}, logprob ${logprob.length} bytes`)
    }
    view.setUint32(at, id)
    view.setUint16(at + 4, text.length)
    view.setUint16(at + 6, logprob.length)
    bytes.set(text, at + TOKEN_HEADER_BYTES)
    bytes.set(logprob, at + TOKEN_HEADER_BYTES + text.length)
    at += TOKEN_HEADER_BYTES + text.length + logprob.length
  }
  return bytes
}

/** Reads chunks, or says what is malformed. Text must be valid UTF-8. */
export function decodeTokenChunks(payload: Uint8Array): TokenChunk[] | string {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const chunks: TokenChunk[] = []
  let at = 0
  try {
    while (at < payload.length) {
      if (payload.length - at < TOKEN_HEADER_BYTES) return `truncated token header at byte ${at}`
      const text = at + TOKEN_HEADER_BYTES
      const logprob = text + view.getUint16(at + 4)
      const end = logprob + view.getUint16(at + 6)
      if (end > payload.length)
        return `token at byte ${at} ends at ${end}, payload at ${payload.length}`
      chunks.push({
        id: view.getUint32(at),
        text: textOf(view.getUint32(at), payload, text, logprob),
        logprob: logprob === end ? '' : decoder.decode(payload.subarray(logprob, end)),
      })
      at = end
    }
  } catch {
    return `token at byte ${at} is not valid UTF-8`
  }
  return chunks
}

/** The texts, joined: once for many, since `+=` would leave a node of 32 bytes for each. */
export function joinedText(chunks: readonly TokenChunk[]): string {
  if (chunks.length === 1) return chunks[0]?.text ?? ''
  return chunks.map(({ text }) => text).join('')
}

/**
 * The ASCII text that each id had last, a slot for some ids each. An id nearly always has the same text, and
 * comparing a few bytes costs a tenth of decoding them, and leaves no garbage.
 */
const LAST_TEXTS: string[] = Array.from({ length: 8192 }, () => '')
const LONGEST_KEPT_BYTES = 32

function textOf(id: number, payload: Uint8Array, from: number, to: number): string {
  if (from === to) return ''
  const slot = id & (LAST_TEXTS.length - 1)
  const last = LAST_TEXTS[slot] ?? ''
  if (isAscii(last, payload, from, to)) return last
  const text = decoder.decode(payload.subarray(from, to))
  if (text.length === to - from && text.length <= LONGEST_KEPT_BYTES) LAST_TEXTS[slot] = text
  return text
}

/** Whether these bytes are this text, which holds ASCII only. */
function isAscii(text: string, payload: Uint8Array, from: number, to: number): boolean {
  if (text.length !== to - from) return false
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== payload[from + i]) return false
  return true
}
