/** Which host name leads where. The lease book fills it; the ingress looks each request up in it. */
import type { HttpOptions } from '../../../core/protocol/manifest.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'

/** One port of one service of a lease that runs. */
export type IngressTarget = {
  readonly lease: string
  readonly epoch: number
  readonly service: string
  readonly port: number
  /** Copies of the service, numbered from 0. */
  readonly replicas: number
  readonly http: HttpOptions
  /** The node's link now; null while it has none. */
  readonly link: () => NodeLink | null
}

export type IngressEntry =
  | { readonly state: 'running'; readonly target: IngressTarget }
  /** It never ran yet, or is on its way to another node: what visitors are told meanwhile. */
  | {
      readonly state: 'starting' | 'moving'
      readonly message: string
      readonly retryAfterS: number
    }

export type IngressTableOptions = {
  /** Each lease has the names `<name>.<lease>.<domain>`, the lease's id without its prefix. Default: `localhost`. */
  readonly domain?: string
  /** The gateway's own names. Without any, no lease gets a name of its own choice: it could be the gateway's. */
  readonly own?: readonly string[]
}

type Held = { readonly lease: string; readonly entry: IngressEntry }

export class IngressTable {
  readonly #suffix: string
  readonly #own: ReadonlySet<string>
  readonly #held = new Map<string, Held>()

  constructor({ domain = 'localhost', own = [] }: IngressTableOptions = {}) {
    this.#suffix = `.${plainHost(domain)}`
    this.#own = new Set(own.map(plainHost))
  }

  /** Leads the name to the lease from now on. False: it is not for this lease to have, and leads where it led before. */
  set(host: string, entry: IngressEntry, lease: string): boolean {
    const name = plainHost(host)
    if (!this.#mayHave(name, lease)) return false
    this.#held.set(name, { lease, entry })
    return true
  }

  /** The lease has no more use for the name. */
  remove(host: string, lease: string): void {
    const name = plainHost(host)
    if (this.#held.get(name)?.lease === lease) this.#held.delete(name)
  }

  /** `host` as `plainHost` writes it. */
  find(host: string): IngressEntry | undefined {
    return this.#held.get(host)?.entry
  }

  /** The lease that the name leads to. */
  leaseOf(host: string): string | undefined {
    return this.#held.get(host)?.lease
  }

  /** Why none of these leases may have the name of choice; null: nothing is in the way. */
  whyNot(host: string, leases: readonly string[]): 'own' | 'taken' | null {
    const name = plainHost(host)
    if (this.#own.has(name)) return 'own'
    const holder = this.#held.get(name)?.lease
    return holder === undefined || leases.includes(holder) ? null : 'taken'
  }

  /** Whether it is the gateway's own name, in `plainHost`'s spelling. */
  isOwn(host: string): boolean {
    return this.#own.has(host)
  }

  /** A tenant who could take the gateway's name, or another's, would read their visitors' keys. */
  #mayHave(name: string, lease: string): boolean {
    const label = lease.slice(lease.indexOf('_') + 1)
    if (name.endsWith(this.#suffix)) return name.endsWith(`.${label}${this.#suffix}`)
    const holder = this.#held.get(name)
    if (holder !== undefined && holder.lease !== lease) return false
    return this.#own.size > 0 && !this.#own.has(name) && isPublicName(name)
  }
}

/** At least two labels, and the last one no number: neither an address nor this machine. */
export const isPublicName = (name: string): boolean =>
  /^([a-z\d_-]+\.)+[a-z][a-z\d-]*$/.test(name) && !/(^|\.)localhost$/.test(name)

/** A host name in the one spelling that is compared: no port, no last dot, lower case. */
export function plainHost(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
}
