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

export class IngressTable {
  readonly #entries = new Map<string, IngressEntry>()

  /** Leads the host name there from now on, wherever it led before. */
  set(host: string, entry: IngressEntry): void {
    this.#entries.set(plainHost(host), entry)
  }

  remove(host: string): void {
    this.#entries.delete(plainHost(host))
  }

  /** `host` as `plainHost` writes it. */
  find(host: string): IngressEntry | undefined {
    return this.#entries.get(host)
  }
}

/** A host name in the one spelling that is compared: no port, no last dot, lower case. */
export function plainHost(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
}
