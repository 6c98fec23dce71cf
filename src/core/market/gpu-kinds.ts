/** Every kind of GPU on the market, each with a small number: what rooms and needs are reckoned in. */
import { gpuKey, gpuMeets, type Gpu } from '../protocol/capacity.ts'
import type { Resources } from '../protocol/resources.ts'

export class GpuKinds {
  readonly #numbers = new Map<string, number>()
  readonly #gpus: Gpu[] = []

  get size(): number {
    return this.#gpus.length
  }

  /** The kind's number; a new one for what was never seen. */
  numberOf(gpu: Gpu): number {
    const key = gpuKey(gpu)
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const { vendor, model, vramBytes, interface: bus, mig } = gpu
    this.#numbers.set(key, this.#gpus.length)
    return this.#gpus.push({ vendor, model, vramBytes, interface: bus, mig }) - 1
  }

  gpu(kind: number): Gpu | null {
    return this.#gpus[kind] ?? null
  }

  /** Kinds that the resources may run on; none when they want no GPU. */
  suiting({ gpu: wanted }: Resources): number[] {
    if (!wanted) return []
    const suits = (gpu: Gpu) => wanted.anyOf.some((one) => gpuMeets(gpu, one))
    return [...this.#gpus.keys()].filter((kind) => {
      const gpu = this.#gpus[kind]
      return gpu !== undefined && suits(gpu)
    })
  }
}
