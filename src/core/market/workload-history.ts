/** Learns the mix from the orders that come: recent ones count, old ones fade. */
import { WorkloadMix, type Shape, type WeightedShape } from './workload-mix.ts'

/** Weights are halved when they sum up to this: an order counts for a few tens of thousands of later ones. */
const HALVE_AT = 16_384
/** Different shapes kept: far more than the 330 of a real trace of 8,152 pods. */
const MAX_SHAPES = 4096
/** A new mix voids what was worked out under the last, so it is made this seldom. */
const RENEW_EVERY = 1024
const FIRST_RENEWAL = 16

export class WorkloadHistory {
  readonly #shapes = new Map<string, { shape: Shape; weight: number }>()
  #weight = 0
  #observed = 0
  #renewAt = FIRST_RENEWAL
  #mix = new WorkloadMix([])

  observe(shape: Shape): void {
    const key = shapeKey(shape)
    const known = this.#shapes.get(key)
    if (known) known.weight += 1
    else if (this.#shapes.size < MAX_SHAPES) this.#shapes.set(key, { shape, weight: 1 })
    this.#weight += 1
    this.#observed += 1
    if (this.#weight >= HALVE_AT) this.#fade()
  }

  /** The same object until there is a newer one. */
  mix(): WorkloadMix {
    if (this.#observed >= this.#renewAt) {
      this.#renewAt = this.#observed + Math.min(this.#observed, RENEW_EVERY)
      this.#mix = new WorkloadMix(this.#weighted())
    }
    return this.#mix
  }

  #weighted(): WeightedShape[] {
    return [...this.#shapes.values()].map(({ shape, weight }) => ({ ...shape, weight }))
  }

  #fade(): void {
    this.#weight = 0
    for (const [key, entry] of this.#shapes) {
      entry.weight /= 2
      if (entry.weight < 1) this.#shapes.delete(key)
      else this.#weight += entry.weight
    }
  }
}

/** Equal keys, equal shapes. */
export function shapeKey({ cpuMilli, gpuUnits, gpuMilli, kinds }: Shape): string {
  const accepted = kinds ? [...kinds].toSorted((a, b) => a - b).join() : 'any'
  return `${cpuMilli} ${gpuUnits} ${gpuMilli} ${accepted}`
}
