/** Keeps the ingress's table in step with the leases: names stay, what they lead to follows the lease. */
import type { HttpOptions } from '../../../core/protocol/manifest.ts'
import { isIngress, hostsOf } from './lease-views.ts'
import type { LeaseFile } from './lease-file.ts'
import type { IngressEntry, IngressTable } from '../ingress/ingress-table.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'

/** How long a visitor may wait before asking again, while a lease starts or moves. */
const RETRY_AFTER_S = 2

type Shown = Pick<LeaseFile, 'record' | 'open'>
export type LeaseHosts = { update(lease: Shown): void }

export function keepHosts(parts: {
  readonly table: IngressTable
  readonly domain: string
  readonly linkOf: (node: string) => NodeLink | undefined
}): LeaseHosts {
  const { table, domain } = parts
  const known = new Map<string, readonly string[]>()
  return {
    update(lease) {
      const { id, doc } = lease.record
      const names: string[] = []
      if (lease.open) {
        for (const service of doc.manifest.services) {
          const exposed = service.expose.find(isIngress)
          if (!exposed) continue
          for (const host of hostsOf(id, service, domain)) {
            names.push(host)
            table.set(
              host,
              entryOf(lease, { service: service.name, replicas: service.count }, exposed),
              id,
            )
          }
        }
      }
      for (const host of known.get(id) ?? []) if (!names.includes(host)) table.remove(host, id)
      if (names.length > 0) known.set(id, names)
      else known.delete(id)
    },
  }

  function entryOf(
    lease: Shown,
    { service, replicas }: { service: string; replicas: number },
    {
      port,
      http,
    }: {
      port: number
      http: HttpOptions
    },
  ): IngressEntry {
    const { id, node, doc } = lease.record
    const { ownerEpoch } = doc
    if (node === null || ownerEpoch === null)
      return { state: 'moving', message: doc.message, retryAfterS: RETRY_AFTER_S }
    if (doc.startedAt === null)
      return { state: 'starting', message: doc.message, retryAfterS: RETRY_AFTER_S }
    const link = () => parts.linkOf(node) ?? null
    return {
      state: 'running',
      target: { lease: id, epoch: ownerEpoch, service, port, replicas, http, link },
    }
  }
}
