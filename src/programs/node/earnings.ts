/** What the node has earned since it started, told to the provider: the first time at once, then once a minute. */
import { formatUsd } from '../../core/base/money.ts'
import { MINUTE, type Millis } from '../../core/base/time.ts'
import type { Paid } from './receipt-book.ts'

export class Earnings {
  #nanoUsd = 0n
  #answers = 0
  #saidAt: Millis | null = null
  readonly #say: (line: string) => void
  readonly #now: () => Millis

  constructor(say: (line: string) => void, now: () => Millis) {
    this.#say = say
    this.#now = now
  }

  /** The gateway acknowledged receipts: this money is the provider's. */
  add({ receipts, nanoUsd }: Paid): void {
    this.#nanoUsd += nanoUsd
    this.#answers += receipts
    const now = this.#now()
    if (this.#saidAt !== null && now - this.#saidAt < MINUTE) return
    const first = this.#saidAt === null
    this.#saidAt = now
    this.#say(first ? `first paid job: $${formatUsd(nanoUsd)}; ${this.#total()}` : this.#total())
  }

  /** For the farewell; null when nothing was earned. */
  get summary(): string | null {
    return this.#answers === 0 ? null : this.#total()
  }

  #total(): string {
    const answers = this.#answers === 1 ? '1 answer' : `${this.#answers} answers`
    return `earned $${formatUsd(this.#nanoUsd)} with ${answers} since start`
  }
}
