/** Why a link closed: what travels in the WebSocket close frame, and back. */
import type { LinkRefusal } from '../../core/protocol/link.ts'

/** WebSocket close codes of our own range; the numbers lean on HTTP's. */
const CLOSE_CODES = {
  link_closed: 4000,
  link_malformed_frame: 4400,
  link_key_mismatch: 4401,
  link_bad_signature: 4402,
  link_clock_skew: 4403,
  link_bad_offer: 4404,
  link_wrong_address: 4405,
  link_gateway_unproven: 4406,
  link_bad_payout: 4407,
  link_timeout: 4408,
  link_replaced: 4409,
  link_frame_too_large: 4413,
  link_version_unsupported: 4426,
  shutting_down: 4503,
} as const

export type LinkCode = keyof typeof CLOSE_CODES

/** `link_lost`: nobody said anything, the connection broke. */
export type CloseReason = LinkRefusal & {
  readonly code: LinkCode | 'link_lost'
  /** Whether the other end said so. */
  readonly byPeer: boolean
}

/** Close codes that `ws` itself sends for what it finds wrong. */
const WEBSOCKET_CODES: Readonly<Record<number, LinkCode>> = {
  1000: 'link_closed',
  1001: 'shutting_down',
  1002: 'link_malformed_frame',
  1003: 'link_malformed_frame',
  1007: 'link_malformed_frame',
  1008: 'link_malformed_frame',
  1009: 'link_frame_too_large',
}

/** What a WebSocket close frame can hold besides its code (RFC 6455, 5.5). */
const MAX_CLOSE_TEXT_BYTES = 123

export const reasonText = (reason: LinkRefusal): string => `${reason.code}: ${reason.message}`

/** `code: message`, cut to what a close frame holds, never within a character. */
export function closeFrameOf(reason: CloseReason): { code: number; text: Buffer } {
  const code = reason.code === 'link_lost' ? CLOSE_CODES.link_closed : CLOSE_CODES[reason.code]
  return { code, text: closeTextOf(reasonText(reason)) }
}

/** As much of the text as a close frame holds, never cut within a character. */
export function closeTextOf(text: string): Buffer {
  const whole = Buffer.from(text)
  let end = Math.min(whole.length, MAX_CLOSE_TEXT_BYTES)
  while (end < whole.length && ((whole[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return whole.subarray(0, end)
}

/** Reads a close frame; `refusal` is the REFUSED frame that came before it, if one did. */
export function reasonOfClose(
  status: number,
  text: string,
  refusal: LinkRefusal | null,
): CloseReason {
  if (refusal !== null && isLinkCode(refusal.code)) {
    return { code: refusal.code, message: refusal.message, byPeer: true }
  }
  const said = parseReason(text)
  if (said !== null) return { ...said, byPeer: true }
  const code = WEBSOCKET_CODES[status]
  if (code !== undefined)
    return { code, message: `closed with WebSocket status ${status}`, byPeer: true }
  return { code: 'link_lost', message: 'the connection broke', byPeer: false }
}

/** What a program means by `close(text)`: a known code in front of a colon counts, else `link_closed`. */
export function reasonFromText(text: string): CloseReason {
  const said = parseReason(text)
  return said === null
    ? { code: 'link_closed', message: text, byPeer: false }
    : { ...said, byPeer: false }
}

function parseReason(text: string): { code: LinkCode; message: string } | null {
  const colon = text.indexOf(': ')
  const code = text.slice(0, Math.max(colon, 0))
  return isLinkCode(code) ? { code, message: text.slice(colon + 2) } : null
}

const isLinkCode = (code: string): code is LinkCode => Object.hasOwn(CLOSE_CODES, code)
