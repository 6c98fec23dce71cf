/** How often certificates may be ordered: authorities count, and a tenant's mistake must not use up what others need. */
import { MINUTE, type Millis } from '../../../core/base/time.ts'

export type OrderRates = {
  /** New names in an hour: all of them, and those of one tenant. */
  readonly perHour: number
  readonly perTenantPerHour: number
}

const HOUR = 60 * MINUTE
/** Let's Encrypt allows 5 failures an hour for a name: from 2 minutes doubling there are at most 5 in any hour. */
const FIRST_PAUSE_MS = 2 * MINUTE
const LONGEST_PAUSE_MS = 6 * HOUR

type Failure = { readonly times: number; readonly until: Millis }

export class OrderLimits {
  readonly #rates: OrderRates
  #orders: { readonly tenant: string | null; readonly at: Millis }[] = []
  readonly #failures = new Map<string, Failure>()

  constructor(rates: OrderRates) {
    this.#rates = rates
  }

  /** Null, or why not now, in words. A renewal waits only for what failed before; the gateway's own names have no tenant. */
  whyNot(
    { name, tenant, renews }: { name: string; tenant: string | null; renews: boolean },
    now: Millis,
  ): string | null {
    const failed = this.#failures.get(name)
    if (failed !== undefined && now < failed.until)
      return `it failed ${failed.times} times; the next try is at ${new Date(failed.until).toISOString()}`
    if (renews) return null
    this.#orders = this.#orders.filter(({ at }) => now - at < HOUR)
    const { perHour, perTenantPerHour } = this.#rates
    if (this.#orders.length >= perHour) return `${perHour} were ordered within an hour`
    const own = this.#orders.filter((order) => tenant !== null && order.tenant === tenant).length
    return own >= perTenantPerHour
      ? `${perTenantPerHour} were ordered for the tenant within an hour`
      : null
  }

  /** A new name was ordered, whatever comes of it. */
  ordered(tenant: string | null, now: Millis): void {
    this.#orders.push({ tenant, at: now })
  }

  /** When the next try may be. */
  failed(name: string, now: Millis): Millis {
    const times = (this.#failures.get(name)?.times ?? 0) + 1
    const until = now + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (times - 1))
    this.#failures.set(name, { times, until })
    return until
  }

  succeeded(name: string): void {
    this.#failures.delete(name)
  }

  /** Forgets the failures of names that are not in use any more. Not before their time: deploying anew is no way around it. */
  keep(isInUse: (name: string) => boolean, now: Millis): void {
    for (const [name, { until }] of this.#failures)
      if (now >= until && !isInUse(name)) this.#failures.delete(name)
  }
}
