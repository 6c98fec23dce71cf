/** How a quantity is spread, in buckets that grow by 2 %: a million samples cost what ten do, quantiles are right to 1 %. */

const GROWTH = Math.log(1.02)
const BUCKETS = 1400 // from 1 to 10¹²

export class Histogram {
  count = 0
  sum = 0
  most = 0
  readonly #buckets = new Float64Array(BUCKETS)

  /** Samples below 1 count as 0. */
  add(value: number): void {
    this.count += 1
    this.sum += value
    if (value > this.most) this.most = value
    const bucket = value < 1 ? 0 : 1 + Math.floor(Math.log(value) / GROWTH)
    const at = Math.min(bucket, BUCKETS - 1)
    this.#buckets[at] = (this.#buckets[at] ?? 0) + 1
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }

  /** The value that a part of all samples does not exceed; 0 without samples. */
  quantile(part: number): number {
    let left = part * this.count
    for (let at = 0; at < BUCKETS; at++) {
      left -= this.#buckets[at] ?? 0
      if (left <= 0 && this.count > 0)
        return at === 0 ? 0 : Math.min(this.most, Math.exp((at - 0.5) * GROWTH))
    }
    return this.most
  }

  clear(): void {
    this.count = 0
    this.sum = 0
    this.most = 0
    this.#buckets.fill(0)
  }
}

/** Of a list that is small enough to be sorted: nearest rank. Null without values. */
export function quantileOf(values: readonly number[], part: number): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? null
}
