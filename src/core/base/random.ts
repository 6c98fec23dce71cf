/** Chance with a name: everything random in the core comes from a caller's seed, so it can be replayed. */
export type Random = () => number

/** Uniform numbers in [0, 1) from a 32-bit seed. Mulberry32 (Tommy Ettinger, public domain): routing and tests, never keys. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * The sampling key of one token: a 32-bit mix of (seed, position), so that a sample resumed at any position
 * goes on as the same sample and anyone can derive each draw again.
 * Two rounds of MurmurHash3's 32-bit finalizer (Austin Appleby, public domain).
 */
export function drawKey(seed: number, position: number): number {
  return mix(mix(seed >>> 0) ^ Math.imul((position + 1) >>> 0, 0x9e3779b9))
}

function mix(value: number): number {
  let h = value >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
