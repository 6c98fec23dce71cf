/**
 * Identifiers people meet: a prefix that names the thing, then 120 random bits in Crockford base 32
 * (no i, l, o, u; double-click selects all of it). The randomness is the caller's.
 */
export type IdPrefix =
  | 'acct'
  | 'key'
  | 'req'
  | 'att'
  | 'rcpt'
  | 'hold'
  | 'post'
  | 'link'
  | 'gw'
  | 'tun'
  | 'dep'
  | 'lease'
  | 'order'
  | 'bid'
  | 'cmd'
  | 'snap'

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const ID_BYTES = 15

/** 15 random bytes → `prefix_` and 24 characters. */
export function idFrom(prefix: IdPrefix, random: Uint8Array): string {
  return `${prefix}_${base32(random.subarray(0, ID_BYTES))}`
}

/** Whether the text has the shape of an id with this prefix; says nothing about its existence. */
export function isId(prefix: IdPrefix, text: string): boolean {
  return (
    text.startsWith(`${prefix}_`) &&
    /^[0-9a-hjkmnp-tv-z]{8,40}$/.test(text.slice(prefix.length + 1))
  )
}

/**
 * Bytes → Crockford base 32, most significant bits first, no padding.
 * https://www.crockford.com/base32.html
 */
export function base32(bytes: Uint8Array): string {
  const codes: number[] = []
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      codes.push(ALPHABET.charCodeAt((value >>> bits) & 31))
    }
  }
  if (bits > 0) codes.push(ALPHABET.charCodeAt((value << (5 - bits)) & 31))
  // At once: added up character by character an id would be a tree of two dozen strings.
  return String.fromCharCode(...codes)
}
