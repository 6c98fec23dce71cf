/**
 * Certificates by ACME for names that lead here: ordered at the first handshake that asks for one, within limits, and
 * again long before they expire. A handshake waits for its certificate, but not for long.
 */
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { Authority } from './acme-authority.ts'
import { Certificate } from './certificate.ts'
import type { CertificateFolder } from './certificate-folder.ts'
import { OrderLimits, type OrderRates } from './order-limits.ts'

export type CertifierParts = {
  readonly authority: Authority
  readonly folder: CertificateFolder
  readonly rates: OrderRates
  /** Whose name it is now; null: nobody's, and no certificate is due. Its tenant is null when it is the gateway's own. */
  readonly holderOf: (name: string) => { readonly tenant: string | null } | null
  readonly now: () => Millis
  readonly logger: Logger
  /** Default 8,000. */
  readonly handshakeWaitMs?: number
}

/** The authority needs seconds. A visitor who comes first waits so long; whoever comes later finds the certificate there. */
const HANDSHAKE_WAIT_MS = 8_000
/** Handshakes that wait, each a connection. */
const MAX_WAITING = 256
/** Orders under way; another is refused until one is through. */
const MAX_ORDERS = 4
/** Of its lifetime. Two thirds is what authorities advise at the latest: what fails at first has time to be tried again. */
const RENEW_AT = 0.6
const LOOK_EVERY_MS = 60_000
/** Refusals are told so often at most: strangers can cause them. */
const TELL_EVERY_MS = 60_000

export class Certifier {
  readonly #parts: CertifierParts
  readonly #limits: OrderLimits
  readonly #held: Map<string, Certificate>
  readonly #orders = new Map<string, Promise<Certificate | null>>()
  readonly #timer: NodeJS.Timeout
  #waiting = 0
  #toldAt = 0

  constructor(parts: CertifierParts) {
    this.#parts = parts
    this.#limits = new OrderLimits(parts.rates)
    this.#held = parts.folder.load(parts.logger)
    this.#timer = setInterval(() => void this.renewDue(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** The certificate that is there. */
  held(name: string): Certificate | null {
    const found = this.#held.get(name)
    return found !== undefined && found.notAfter > this.#parts.now() ? found : null
  }

  /** The same, or one that is ordered now, if it comes soon. `name` as `plainHost` writes it. */
  async find(name: string): Promise<Certificate | null> {
    const held = this.held(name)
    // A lease that is gone needs its certificate no more, but whoever has the name shows it.
    if (held !== null) return this.#parts.holderOf(name) === null ? null : held
    const ordered = this.#ordered(name, false)
    if (ordered === null || this.#waiting >= MAX_WAITING) return null
    this.#waiting += 1
    try {
      return await soon(ordered, this.#parts.handshakeWaitMs ?? HANDSHAKE_WAIT_MS)
    } finally {
      this.#waiting -= 1
    }
  }

  /** Orders what will expire, the soonest first, and forgets what nobody needs. Resolves when what it ordered is through. */
  async renewDue(): Promise<void> {
    const { holderOf, now, folder } = this.#parts
    const at = now()
    const due: { name: string; notAfter: Millis }[] = []
    for (const [name, { notBefore, notAfter }] of this.#held) {
      const isHeld = holderOf(name) !== null
      if (!isHeld && at > notAfter) {
        this.#held.delete(name)
        folder.remove(name)
      } else if (isHeld && at >= notBefore + (notAfter - notBefore) * RENEW_AT)
        due.push({ name, notAfter })
    }
    this.#limits.keep((name) => holderOf(name) !== null, at)
    const soonest = due.toSorted((a, b) => a.notAfter - b.notAfter)
    await Promise.all(soonest.map(async ({ name }) => await this.#ordered(name, true)))
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** The order that is under way, or a new one. Resolves with null when it failed; null at once: not now. */
  #ordered(name: string, renews: boolean): Promise<Certificate | null> | null {
    return this.#orders.get(name) ?? this.#order(name, renews)
  }

  #order(name: string, renews: boolean): Promise<Certificate | null> | null {
    const { holderOf, now } = this.#parts
    const holder = holderOf(name)
    if (holder === null) return null
    const { tenant } = holder
    const why =
      this.#orders.size >= MAX_ORDERS
        ? `${MAX_ORDERS} orders are under way`
        : this.#limits.whyNot({ name, tenant, renews }, now())
    if (why !== null) {
      this.#tell(name, why)
      return null
    }
    if (!renews) this.#limits.ordered(tenant, now())
    const ordered = this.#issue(name).finally(() => this.#orders.delete(name))
    this.#orders.set(name, ordered)
    return ordered
  }

  async #issue(name: string): Promise<Certificate | null> {
    const { authority, folder, logger, now } = this.#parts
    try {
      const certificate = new Certificate(await authority.issue(name))
      if (!certificate.covers(name)) throw new Error('the authority issued one for another name')
      this.#held.set(name, certificate)
      this.#limits.succeeded(name)
      folder.save(name, certificate.pem)
      const until = new Date(certificate.notAfter).toISOString()
      logger.info('certificate issued', { name, until })
      return certificate
    } catch (error) {
      const again = new Date(this.#limits.failed(name, now())).toISOString()
      logger.warn('certificate not issued', { name, error: reasonOf(error), again })
      return null
    }
  }

  #tell(name: string, why: string): void {
    const at = this.#parts.now()
    if (at - this.#toldAt < TELL_EVERY_MS) return
    this.#toldAt = at
    this.#parts.logger.warn('certificate not ordered', { name, why })
  }
}

async function soon<T>(work: Promise<T>, withinMs: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), withinMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
