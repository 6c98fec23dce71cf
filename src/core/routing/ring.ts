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

type Point = { readonly hash: number; readonly replica: Replica }

export class Ring {
  readonly #points: Point[] = []

  get size(): number {
    return this.#points.length
  }

  add(replica: Replica): void {
    const hash = hashText(replica.node)
    this.#points.splice(this.#firstFrom(hash), 0, { hash, replica })
  }

  remove(replica: Replica): void {
    const hash = hashText(replica.node)
    for (let at = this.#firstFrom(hash); this.#points[at]?.hash === hash; at++) {
      if (this.#points[at]?.replica !== replica) continue
      this.#points.splice(at, 1)
      return
    }
  }

  /** Where this prefix is at home: a place for `at`. O(log n). */
  home(prefix: number): number {
    let best = 0
    let shortest = Infinity
    let probe = prefix >>> 0
    for (let i = 0; i < PROBES; i++) {
      probe = scramble(probe + i)
      const place = this.#firstFrom(probe) % this.#points.length
      const distance = ((this.#points[place]?.hash ?? 0) - probe) >>> 0
      if (distance < shortest) [best, shortest] = [place, distance]
    }
    return best
  }

  /** The replica at a place, going round. */
  at(place: number): Replica | undefined {
    return this.#points[place % this.#points.length]?.replica
  }

  /** Index of the first point not below the hash; the size when there is none. */
  #firstFrom(hash: number): number {
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#points[middle]?.hash ?? 0) < hash) low = middle + 1
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
