/**
 * Bytes as Ethereum writes them: `0x` and lower-case hex. Addresses are lower case everywhere inside, so that they compare
 * as texts; the mixed case of EIP-55 is for screens.
 */
export type Hex = `0x${string}`
/** 20 bytes, lower case. */
export type Address = Hex

export const ZERO_ADDRESS: Address = `0x${'0'.repeat(40)}`

/** Whether `text` is `0x` and exactly so many bytes of hex, in either case. */
export function isHex(text: unknown, bytes: number): text is Hex {
  return typeof text === 'string' && text.length === 2 + 2 * bytes && /^0x[0-9a-fA-F]*$/.test(text)
}

/** Any case → lower case. Null unless it is 20 bytes of hex. */
export const parseAddress = (text: unknown): Address | null =>
  isHex(text, 20) ? lowerHex(text) : null

export const lowerHex = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`

export function hexOf(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`
}

/** Throws a RangeError for an odd number of digits or anything that is no hex: check at the edge with `isHex`. */
export function bytesOf(hex: Hex): Uint8Array {
  const bytes = new Uint8Array((hex.length - 2) / 2)
  writeHex(hex, bytes, 0)
  return bytes
}

/** Writes the bytes of `hex` into `target` from `offset` on, and returns where they end. */
export function writeHex(hex: Hex, target: Uint8Array, offset: number): number {
  let at = offset
  for (let index = 2; index < hex.length; index += 2) {
    target[at++] = (digit(hex, index) << 4) | digit(hex, index + 1)
  }
  return at
}

function digit(hex: Hex, index: number): number {
  const code = hex.charCodeAt(index)
  if (code >= 48 && code <= 57) return code - 48
  const letter = (code | 32) - 97
  if (letter >= 0 && letter <= 5) return letter + 10
  throw new RangeError(`no hex at character ${index} of ${hex.slice(0, 80)}`)
}
