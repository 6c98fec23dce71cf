/** A Prometheus histogram whose `observe` is a short scan and two additions. */
export type Histogram = {
  observe(value: number): void
  /** Its lines in the Prometheus text format. */
  text(): string
}

/** `bounds`: upper bounds of the buckets, ascending; a last one without bound is added. */
export function createHistogram(name: string, help: string, bounds: readonly number[]): Histogram {
  const counts = new Float64Array(bounds.length + 1)
  let sum = 0
  return {
    observe(value) {
      let bucket = 0
      while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket += 1
      counts[bucket] = (counts[bucket] ?? 0) + 1
      sum += value
    },
    text() {
      let total = 0
      const buckets = [...bounds, '+Inf'].map((bound, i) => {
        total += counts[i] ?? 0
        return `${name}_bucket{le="${bound}"} ${total}\n`
      })
      return (
        `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${buckets.join('')}` +
        `${name}_sum ${sum}\n${name}_count ${total}\n`
      )
    },
  }
}
