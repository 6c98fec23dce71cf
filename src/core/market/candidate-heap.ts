/** Candidates of an auction, the best first: a binary heap over columns of plain numbers, used again for each order. */
export type Candidate = {
  readonly row: number
  readonly way: number
  readonly rank: number
  /** Whether the rank is the candidate's own, or only a floor of it that is yet to be worked out. */
  readonly exact: boolean
}

export class CandidateHeap {
  #ranks = new Float64Array(256)
  #rows = new Int32Array(256)
  /** Twice the way, and one more when the rank is exact. */
  #ways = new Int32Array(256)
  #size = 0

  /** The best candidate's rank; infinite when there is none. */
  get bestRank(): number {
    return this.#size === 0 ? Infinity : this.#rank(0)
  }

  clear(): void {
    this.#size = 0
  }

  add(rank: number, row: number, way: number, exact: boolean): void {
    if (this.#size === this.#ranks.length) this.#grow()
    let at = this.#size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(rank, row, this.#rank(parent), this.#row(parent))) break
      this.#move(parent, at)
      at = parent
    }
    this.#set(at, rank, row, 2 * way + Number(exact))
  }

  /** Of equal ranks the lower row. */
  takeBest(): Candidate | null {
    if (this.#size === 0) return null
    const [rank, row, way] = [this.#rank(0), this.#row(0), this.#ways[0] ?? 0]
    this.#size -= 1
    this.#sink(this.#rank(this.#size), this.#row(this.#size), this.#ways[this.#size] ?? 0)
    return { rank, row, way: way >> 1, exact: (way & 1) === 1 }
  }

  /** Finds the place for what was last, from the top. */
  #sink(rank: number, row: number, way: number): void {
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      const right = child + 1
      if (right < this.#size && this.#isAtBefore(right, this.#rank(child), this.#row(child)))
        child = right
      if (!this.#isAtBefore(child, rank, row)) break
      this.#move(child, at)
      at = child
    }
    this.#set(at, rank, row, way)
  }

  #isAtBefore(at: number, rank: number, row: number): boolean {
    return isBefore(this.#rank(at), this.#row(at), rank, row)
  }

  #rank(at: number): number {
    return this.#ranks[at] ?? Infinity
  }

  #row(at: number): number {
    return this.#rows[at] ?? 0
  }

  #move(from: number, to: number): void {
    this.#set(to, this.#rank(from), this.#row(from), this.#ways[from] ?? 0)
  }

  #set(at: number, rank: number, row: number, way: number): void {
    this.#ranks[at] = rank
    this.#rows[at] = row
    this.#ways[at] = way
  }

  #grow(): void {
    const [ranks, rows, ways] = [this.#ranks, this.#rows, this.#ways]
    this.#ranks = new Float64Array(2 * this.#size)
    this.#rows = new Int32Array(2 * this.#size)
    this.#ways = new Int32Array(2 * this.#size)
    this.#ranks.set(ranks)
    this.#rows.set(rows)
    this.#ways.set(ways)
  }
}

const isBefore = (rank: number, row: number, otherRank: number, otherRow: number): boolean =>
  rank === otherRank ? row < otherRow : rank < otherRank
