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

/** FNV-1a over UTF-16 code units, then MurmurHash3's finalizer, since FNV mixes its last bytes poorly. */
export function hashText(text: string, end: number = text.length): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return scramble(hash)
}

function scramble(value: number): number {
  let h = value >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
