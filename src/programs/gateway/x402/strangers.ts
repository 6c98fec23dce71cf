/**
 * What callers without a key may ask of this gateway before they have paid anything. Each is known by its address alone (IPv6: its
 * /64), so whoever stands behind one proxy shares. Proxies that pass the caller's address on are not believed.
 */
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'

export type StrangerLimits = {
  /** Requests of one address, on average and at once. */
  readonly perSecond: number
  readonly burst: number
  /** Bodies that are being read or paid for, of one address and of all. */
  readonly concurrent: number
  readonly concurrentOfAll: number
}

/** Two requests for an answer: one hears the price, one pays. */
export const STRANGER_LIMITS: StrangerLimits = {
  perSecond: 200,
  burst: 400,
  concurrent: 128,
  concurrentOfAll: 1024,
}
/** Without a payment a body is read only to tell its price. */
export const UNPAID_BODY_BYTES = 1024 * 1024
/** Addresses that are remembered; the longest idle go first. */
const MAX_ADDRESSES = 20_000

type Stranger = { tokens: number; at: Millis; inside: number }

export class Strangers {
  readonly #limits: StrangerLimits
  readonly #now: () => Millis
  readonly #known = new Map<string, Stranger>()
  #inside = 0

  constructor(now: () => Millis, limits: StrangerLimits = STRANGER_LIMITS) {
    this.#now = now
    this.#limits = limits
  }

  /** Lets one request in; call what is returned once, when it is over. */
  enter(address: string | undefined): (() => void) | Refusal {
    const { perSecond, burst, concurrent, concurrentOfAll } = this.#limits
    const stranger = this.#of(networkOf(address ?? ''))
    if (stranger.tokens < 1) return tooOften(Math.ceil((1 - stranger.tokens) / perSecond))
    if (stranger.inside >= concurrent || this.#inside >= concurrentOfAll) return tooMany()
    stranger.tokens = Math.min(stranger.tokens, burst) - 1
    stranger.inside += 1
    this.#inside += 1
    let inside = true
    return () => {
      if (!inside) return
      inside = false
      stranger.inside -= 1
      this.#inside -= 1
    }
  }

  #of(address: string): Stranger {
    const { perSecond, burst } = this.#limits
    const now = this.#now()
    const known = this.#known.get(address) ?? { tokens: burst, at: now, inside: 0 }
    known.tokens = Math.min(burst, known.tokens + ((now - known.at) / 1000) * perSecond)
    known.at = now
    // Last in the map is who came last.
    this.#known.delete(address)
    this.#known.set(address, known)
    if (this.#known.size > MAX_ADDRESSES) this.#forgetOne()
    return known
  }

  #forgetOne(): void {
    for (const [address, { inside }] of this.#known) {
      if (inside > 0) continue
      this.#known.delete(address)
      return
    }
  }
}

/** An IPv6 host has a /64 of addresses to itself. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [head = '', tail = ''] = address.split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const groups = address.includes('::')
    ? [
        ...left,
        ...Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0'),
        ...right,
      ]
    : left
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, '').toLowerCase())
    .join(':')
}

const tooOften = (retryAfterS: number): Refusal =>
  refuse(
    'rate_limit_exceeded',
    'Too many requests without a key from your address. Wait, or use an API key.',
    { retryAfterS: Math.max(1, retryAfterS) },
  )

const tooMany = (): Refusal =>
  refuse(
    'concurrency_limit_exceeded',
    'Too many requests without a key are being served for your address, or for all. Wait for some to end.',
    { retryAfterS: 1 },
  )
