/** What happens next in virtual time: a binary heap in typed arrays, so that a million waiting events are no objects. */

const FIRST_ROOM = 1024

export class EventQueue {
  /** Of the event that `next` took out last. */
  at = 0
  kind = 0
  subject = 0
  /** Tells an event that was overtaken (a node's second life) from one that still counts. */
  mark = 0

  #size = 0
  #pushed = 0
  #at = new Float64Array(FIRST_ROOM)
  /** Equal times in the order of their coming: the same seed, the same run. */
  #order = new Float64Array(FIRST_ROOM)
  #kind = new Uint8Array(FIRST_ROOM)
  #subject = new Int32Array(FIRST_ROOM)
  #mark = new Int32Array(FIRST_ROOM)

  get size(): number {
    return this.#size
  }

  push(at: number, kind: number, subject: number, mark: number): void {
    if (this.#size === this.#at.length) this.#grow()
    const order = this.#pushed++
    let hole = this.#size++
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      if ((this.#at[parent] ?? 0) <= at) break
      this.#copy(parent, hole)
      hole = parent
    }
    this.#at[hole] = at
    this.#order[hole] = order
    this.#kind[hole] = kind
    this.#subject[hole] = subject
    this.#mark[hole] = mark
  }

  /** Takes the earliest event out, into the fields; false when there is none up to `until`. */
  next(until: number): boolean {
    const at = this.#at[0] ?? 0
    if (this.#size === 0 || at > until) return false
    this.at = at
    this.kind = this.#kind[0] ?? 0
    this.subject = this.#subject[0] ?? 0
    this.mark = this.#mark[0] ?? 0
    this.#size -= 1
    if (this.#size > 0) this.#sinkLast()
    return true
  }

  /** The last one takes the first one's place and sinks. */
  #sinkLast(): void {
    const last = this.#size
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= last) break
      if (child + 1 < last && this.#before(child + 1, child)) child += 1
      if (!this.#before(child, last)) break
      this.#copy(child, hole)
      hole = child
    }
    this.#copy(last, hole)
  }

  #before(a: number, b: number): boolean {
    const [atA, atB] = [this.#at[a] ?? 0, this.#at[b] ?? 0]
    return atA < atB || (atA === atB && (this.#order[a] ?? 0) < (this.#order[b] ?? 0))
  }

  #copy(from: number, to: number): void {
    this.#at[to] = this.#at[from] ?? 0
    this.#order[to] = this.#order[from] ?? 0
    this.#kind[to] = this.#kind[from] ?? 0
    this.#subject[to] = this.#subject[from] ?? 0
    this.#mark[to] = this.#mark[from] ?? 0
  }

  #grow(): void {
    const room = 2 * this.#at.length
    this.#at = grown(this.#at, new Float64Array(room))
    this.#order = grown(this.#order, new Float64Array(room))
    this.#kind = grown(this.#kind, new Uint8Array(room))
    this.#subject = grown(this.#subject, new Int32Array(room))
    this.#mark = grown(this.#mark, new Int32Array(room))
  }
}

type Column = Float64Array | Uint8Array | Int32Array

function grown<Array extends Column>(old: Column, fresh: Array): Array {
  fresh.set(old)
  return fresh
}
