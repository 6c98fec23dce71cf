/** One receipt book for each gateway that this node has ever worked for, opened when it is first linked. */
import { join } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'
import { openSpool, type SpoolOptions } from './spool.ts'
import { ReceiptBook, type BookParts, type Paid } from './receipt-book.ts'

export type ShelfParts = Pick<
  BookParts,
  'identity' | 'now' | 'logger' | 'batchMs' | 'representMs'
> &
  Pick<SpoolOptions, 'open' | 'limitBytes'> & {
    /** Folder of the spools: one folder in it for each gateway. */
    readonly folder: string
    readonly onPaid: (paid: Paid, gateway: string) => void
  }

export class Bookshelf {
  readonly #parts: ShelfParts
  readonly #open = new Map<string, ReceiptBook>()
  readonly #opening = new Map<string, Promise<ReceiptBook>>()

  constructor(parts: ShelfParts) {
    this.#parts = parts
  }

  /** The book when it is open already: the path of every attempt but the first. */
  opened(gateway: string): ReceiptBook | null {
    return this.#open.get(gateway) ?? null
  }

  /** Opens the book of a gateway, once. After a failure the next call tries again. */
  of(gateway: string): Promise<ReceiptBook> {
    const known = this.#opening.get(gateway)
    if (known) return known
    const opening = this.#make(gateway)
    this.#opening.set(gateway, opening)
    opening.catch(() => this.#opening.delete(gateway))
    return opening
  }

  /** Receipts that no gateway has acknowledged yet. */
  get unacknowledged(): number {
    return this.books.reduce((sum, book) => sum + book.unacknowledged, 0)
  }

  get books(): ReceiptBook[] {
    return [...this.#open.values()]
  }

  /** Everything to disk. Throws the first Fault, after all have been tried. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#opening.values())
    const closed = await Promise.allSettled(this.books.map((book) => book.close()))
    for (const result of closed) if (result.status === 'rejected') throw result.reason
  }

  async #make(gateway: string): Promise<ReceiptBook> {
    // The id is a folder's name here, and it came from outside.
    if (!/^gw_[0-9a-z]{1,40}$/.test(gateway))
      throw new Fault('gateway_id', `'${gateway.slice(0, 60)}' is not a gateway's id`)
    const { folder, open, limitBytes, onPaid, ...parts } = this.#parts
    const spool = await openSpool({
      folder: join(folder, gateway),
      logger: parts.logger,
      ...(open && { open }),
      ...(limitBytes !== undefined && { limitBytes }),
    })
    const book = new ReceiptBook({
      ...parts,
      gateway,
      spool,
      onPaid: (paid) => onPaid(paid, gateway),
    })
    this.#open.set(gateway, book)
    return book
  }
}
