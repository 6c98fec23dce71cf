/**
 * What a wallet has promised, on disk: state-1.json, state-2.json, … in its folder, of which the highest counts. A change
 * writes the next number, which only one process can: several commands at once never sign past each other, and whatever
 * dies leaves the one state or the other.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '../../../core/base/hex.ts'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { bookText, emptyBook, parseBook, type Book } from './book-schema.ts'
import { isCode, writeNewFile } from './new-file.ts'

/** So many others may change it meanwhile, one after the other. */
const MAX_TRIES = 1000

export class WalletBook {
  readonly #folder: string
  readonly #address: Address

  constructor(folder: string, address: Address) {
    this.#folder = folder
    this.#address = address
  }

  /** Throws a Fault `wallet_book_damaged`. */
  async read(): Promise<Book> {
    return (await this.#newest()).book
  }

  /**
   * Puts what `next` makes of the book in its place, and gives it back when it is on the disk. `next` may run more than
   * once; what it throws leaves the book as it was. Where it gives back the same object, nothing is written.
   */
  async change(next: (book: Book) => Book): Promise<Book> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { book, number } = await this.#newest()
      const changed = next(book)
      if (changed === book) return book
      const path = this.#path(number + 1)
      if (!(await writeNewFile(path, bookText(changed)))) continue
      const numbers = await this.#numbers()
      if (numbers.every((other) => other <= number + 1)) {
        // One before is kept, for whoever reads it just now.
        await this.#remove(numbers.filter((other) => other < number))
        return changed
      }
      // Others were faster by more than one, and had cleaned that number up: ours was never the highest.
      await this.#remove([number + 1])
    }
    throw new Fault('wallet_busy', `${this.#folder} is changed by too many processes at once`, {
      retryable: true,
    })
  }

  async #newest(): Promise<{ book: Book; number: number }> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const number = Math.max(0, ...(await this.#numbers()))
      if (number === 0) return { book: emptyBook(this.#address), number }
      try {
        const book = parseBook(await readFile(this.#path(number), 'utf8'))
        if (book.address !== this.#address.toLowerCase())
          throw new Error(`it is that of ${book.address}, not of ${this.#address}`)
        return { book, number }
      } catch (error) {
        if (isCode(error, 'ENOENT')) continue
        const why = `cannot read ${this.#path(number)}: ${reasonOf(error)}`
        throw new Fault('wallet_book_damaged', why, { cause: error })
      }
    }
    throw new Fault('wallet_busy', `${this.#folder} changes faster than it can be read`)
  }

  async #numbers(): Promise<number[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return []
      throw error
    })
    return names.flatMap((name) => {
      const [, digits] = /^state-(\d{1,15})\.json$/.exec(name) ?? []
      return digits === undefined ? [] : [Number(digits)]
    })
  }

  readonly #path = (number: number): string => join(this.#folder, `state-${number}.json`)

  async #remove(numbers: readonly number[]): Promise<void> {
    await Promise.all(numbers.map(async (one) => rm(this.#path(one), { force: true })))
  }
}
