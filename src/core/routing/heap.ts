/** A binary min-heap whose items know their place, so that any of them can move or leave in O(log n). */
export type InHeap = {
  /** −1: in no heap. */
  place: number
}

export class Heap<Item extends InHeap> {
  readonly #items: Item[] = []
  readonly #before: (a: Item, b: Item) => boolean

  /** `before`: a strict order. */
  constructor(before: (a: Item, b: Item) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#items.length
  }

  first(): Item | undefined {
    return this.#items[0]
  }

  add(item: Item): void {
    this.#items.push(item)
    this.#rise(item, this.#items.length - 1)
  }

  remove(item: Item): void {
    const at = item.place
    const last = this.#items.pop()
    item.place = -1
    if (!last || last === item) return
    this.#items[at] = last
    last.place = at
    this.moved(last)
  }

  /** The item's order changed. */
  moved(item: Item): void {
    this.#rise(item, item.place)
    this.#sink(item, item.place)
  }

  #rise(item: Item, from: number): void {
    let at = from
    while (at > 0) {
      const parent = this.#items[(at - 1) >> 1]
      if (!parent || !this.#before(item, parent)) break
      this.#set(at, parent)
      at = (at - 1) >> 1
    }
    this.#set(at, item)
  }

  #sink(item: Item, from: number): void {
    let at = from
    for (;;) {
      const left = this.#items[2 * at + 1]
      const right = this.#items[2 * at + 2]
      const child = right && left && this.#before(right, left) ? right : left
      if (!child || !this.#before(child, item)) break
      const next = child.place
      this.#set(at, child)
      at = next
    }
    this.#set(at, item)
  }

  #set(at: number, item: Item): void {
    this.#items[at] = item
    item.place = at
  }
}
