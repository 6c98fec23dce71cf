/**
 * Signature checks in the order they came, few per turn: when thousands of nodes return at once, their
 * checks, two thirds of a millisecond each, must not hold up the tokens of those already here.
 */
const CHECKS_PER_TURN = 4

export class SignatureQueue {
  #waiting: (() => void)[] = []

  add(check: () => void): void {
    if (this.#waiting.length === 0) setImmediate(this.#run)
    this.#waiting.push(check)
  }

  readonly #run = (): void => {
    for (const check of this.#waiting.splice(0, CHECKS_PER_TURN)) check()
    if (this.#waiting.length > 0) setImmediate(this.#run)
  }
}
