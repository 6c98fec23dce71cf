/**
 * Consistent hashing of prompts to replicas: equal prefixes meet the same replica, so its cache serves them,
 * and a replica that joins or leaves moves only its own share.
 *
 * One point for each replica in a sorted array and several probes for each lookup (multi-probe consistent
 * hashing, Appleton and O'Reilly 2015, arXiv:1505.00062): nothing to rebuild when nodes come and go.
 */
import type { Replica } from './replica.ts'

/** The nearest of so many probes evens out the arcs: with one, the longest is ln n times the mean. */
const PROBES = 4

export class Ring {
  // Two arrays in step: a lookup walks plain integers and touches one replica. Hashes are signed, as engines
  // keep such integers unboxed.
  readonly #hashes: number[] = []
  readonly #replicas: Replica[] = []

  get size(): number {
    return this.#hashes.length
  }

  add(replica: Replica): void {
    const hash = hashText(replica.node) | 0
    const at = this.#firstFrom(hash)
    this.#hashes.splice(at, 0, hash)
    this.#replicas.splice(at, 0, replica)
  }

  remove(replica: Replica): void {
    const hash = hashText(replica.node) | 0
    let at = this.#firstFrom(hash)
    while (this.#hashes[at] === hash && this.#replicas[at] !== replica) at++
    if (this.#replicas[at] !== replica) return
    this.#hashes.splice(at, 1)
    this.#replicas.splice(at, 1)
  }

  /** Where this prefix is at home: a place for `at`. O(log n). */
  home(prefix: number): number {
    let best = 0
    let shortest = Infinity
    let probe = prefix
    for (let i = 0; i < PROBES; i++) {
      probe = scramble(probe + i) | 0
      const place = this.#firstFrom(probe) % this.#hashes.length
      const distance = ((this.#hashes[place] ?? 0) - probe) >>> 0
      if (distance < shortest) [best, shortest] = [place, distance]
    }
    return best
  }

  /** The replica at a place, going round. */
  at(place: number): Replica | undefined {
    return this.#replicas[place % this.#replicas.length]
  }

  /** Index of the first hash not below this one; the size when there is none. */
  #firstFrom(hash: number): number {
    let low = 0
    let high = this.#hashes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#hashes[middle] ?? 0) < hash) low = middle + 1
      else high = middle
    }
    return low
  }
}

/**
 * A 32-bit hash of the text's first `end` UTF-16 code units, two a step: 1.5 µs for 1000 characters.
 * Multiply and rotate after MurmurHash3 (Austin Appleby, public domain). For places on the ring, never for secrets.
 */
export function hashText(text: string, end: number = text.length): number {
  let hash = end
  const pairs = end & ~1
  for (let i = 0; i < pairs; i += 2) {
    const mixed = hash ^ text.charCodeAt(i) ^ (text.charCodeAt(i + 1) << 16)
    hash = Math.imul((mixed << 15) | (mixed >>> 17), 0xcc9e2d51)
  }
  return scramble(pairs < end ? hash ^ text.charCodeAt(pairs) : hash)
}

function scramble(value: number): number {
  let h = value >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
