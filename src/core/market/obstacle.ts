/** One reason why a node cannot run a group, with both numbers: nothing is refused without them. */
import { formatUsd } from '../base/money.ts'
import { priceFor, type AttoUsdPerSecond } from '../base/rate.ts'

export type Obstacle =
  | {
      readonly what: 'too little'
      /** `memory`, `free GPUs`, `GPU memory`. */
      readonly dimension: string
      readonly have: number
      readonly need: number
      readonly unit: Unit
    }
  | {
      readonly what: 'different'
      /** `attribute region`, `GPU model`. */
      readonly dimension: string
      readonly have: string
      readonly need: string
    }
  | {
      readonly what: 'too dear'
      readonly dimension: 'price'
      readonly asks: AttoUsdPerSecond
      readonly ceiling: AttoUsdPerSecond
    }
  | { readonly what: 'unpriced'; readonly dimension: 'price of'; readonly need: string }

export type Unit = 'milli-cores' | 'bytes' | 'count' | 'seconds'

export const tooLittle = (
  dimension: string,
  have: number,
  need: number,
  unit: Unit = 'count',
): Obstacle => ({ what: 'too little', dimension, have, need, unit })

export const different = (dimension: string, have: string, need: string): Obstacle => ({
  what: 'different',
  dimension,
  have,
  need,
})

/** `GPU memory 24 GiB < 80 GiB`, `region us-west ≠ eu-*`, `price $0.40/h > $0.35/h`. */
export function tellObstacle(obstacle: Obstacle): string {
  const name = obstacle.dimension.replace(/^attribute /, '')
  switch (obstacle.what) {
    case 'too little':
      return `${name} ${tellApart(obstacle.have, obstacle.need, obstacle.unit)}`
    case 'different':
      return `${name} ${obstacle.have} ≠ ${obstacle.need}`
    case 'too dear':
      return `${name} ${anHour(obstacle.asks, 'up')} > ${anHour(obstacle.ceiling, 'down')}`
    case 'unpriced':
      return `no ${name} ${obstacle.need}`
  }
}

/** Whether the first is nearer to being none: of several nodes' obstacles the nearest is told. */
export function isNearer(one: Obstacle, other: Obstacle): boolean {
  if (one.what === 'too little' && other.what === 'too little') return one.have > other.have
  if (one.what === 'too dear' && other.what === 'too dear') return one.asks < other.asks
  return false
}

/** `0.5 cores < 2 cores`, and `0.499 cores < 0.5 cores`: with as many digits as it takes to differ. */
function tellApart(have: number, need: number, unit: Unit): string {
  const pairs = [1, 3].map((digits) => [tell(have, unit, digits), tell(need, unit, digits)])
  const [one, other] = pairs.find(([left, right]) => left !== right) ?? [
    `${have}`,
    `${need} ${unit}`,
  ]
  return `${one} < ${other}`
}

function tell(amount: number, unit: Unit, digits: number): string {
  switch (unit) {
    case 'milli-cores':
      return `${round(amount / 1000, digits)} cores`
    case 'bytes':
      return bytes(amount, digits)
    case 'seconds':
      return `${amount} s`
    case 'count':
      return String(amount)
  }
}

function bytes(amount: number, digits: number): string {
  if (amount >= 2 ** 40) return `${round(amount / 2 ** 40, digits)} TiB`
  if (amount >= 2 ** 30 || amount === 0) return `${round(amount / 2 ** 30, digits)} GiB`
  return `${round(amount / 2 ** 20, digits)} MiB`
}

const round = (value: number, digits: number): number =>
  Math.round(value * 10 ** digits) / 10 ** digits

const HUNDREDTH_CENT = 100_000n

/** To hundredths of a cent, away from each other: what differs reads differently. */
function anHour(rate: AttoUsdPerSecond, rounding: 'up' | 'down'): string {
  const nano = priceFor(rate, 'hour') + (rounding === 'up' ? HUNDREDTH_CENT - 1n : 0n)
  return `$${formatUsd((nano / HUNDREDTH_CENT) * HUNDREDTH_CENT)}/h`
}
