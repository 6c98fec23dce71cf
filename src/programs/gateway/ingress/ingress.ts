/**
 * The way in for visitors of tenants' services: looks the host name up, and passes HTTP and WebSockets through
 * tunnels to the node that runs the service.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { notRunning, refuseVisitor, unknownHost } from './ingress-answer.ts'
import { plainHost, type IngressTable, type IngressTarget } from './ingress-table.ts'
import { ProxiedRequest } from './proxied-request.ts'
import { answerOn, proxyUpgrade } from './proxied-upgrade.ts'
import { aimOf, framingOf, type BodyFraming } from './request-shape.ts'
import { ServicePool } from './service-pool.ts'

export type IngressOptions = {
  readonly table: IngressTable
  /** Every name below these is the ingress's, known or not. Default: `localhost`, which browsers send here by themselves. */
  readonly domains?: readonly string[]
  /** A proxy that sets x-forwarded-for and -proto stands in front. Default: no, and what a visitor says of them is dropped. */
  readonly behindProxy?: boolean
}

export type Ingress = {
  /** Whether the request is for a service, and not for the gateway itself. */
  takes(request: IncomingMessage): boolean
  request(request: IncomingMessage, response: ServerResponse): void
  /** Takes over a wish for a WebSocket and returns true; any other wish is an ordinary request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** Cuts what runs. */
  close(): void
}

type Found = {
  readonly target: IngressTarget
  readonly path: string
  readonly framing: BodyFraming
}

export function createIngress(options: IngressOptions): Ingress {
  const { table, domains = ['localhost'], behindProxy = false } = options
  const suffixes = domains.map((domain) => `.${plainHost(domain)}`)
  const pool = new ServicePool()

  function lookUp(request: IncomingMessage): Found | Refusal {
    const framing = framingOf(request)
    if (isRefusal(framing)) return framing
    const aim = aimOf(request)
    if (isRefusal(aim)) return aim
    const entry = table.find(aim.host)
    if (entry === undefined) return unknownHost(aim.host)
    if (entry.state !== 'running') return notRunning(entry)
    return { target: entry.target, path: aim.path, framing }
  }

  return {
    takes({ headers }) {
      const host = plainHost(headers.host ?? '')
      // The gateway's own name may well be below the leases' domain.
      if (table.isOwn(host)) return false
      return suffixes.some((suffix) => host.endsWith(suffix)) || table.find(host) !== undefined
    },
    request(request, response) {
      const found = lookUp(request)
      if (!isRefusal(found)) {
        new ProxiedRequest({ request, response, behindProxy, ...found }, pool).start()
        return
      }
      // Where it ends, or whom it means, is anyone's guess: nothing more is read from such a connection.
      if (found.code === 'invalid_value') response.shouldKeepAlive = false
      refuseVisitor(request, response, found)
    },
    upgrade(request, socket, head) {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket' || !(socket instanceof Socket))
        return false
      socket.on('error', () => socket.destroy())
      const found = lookUp(request)
      const refusal = isRefusal(found) ? found : found.framing.kind === 'none' ? null : WITH_BODY
      if (refusal !== null) refuseVisitor(request, answerOn({ request, socket }), refusal)
      else if (!isRefusal(found))
        void proxyUpgrade({ request, socket, head, behindProxy, ...found }, pool)
      return true
    },
    close: () => pool.close(),
  }
}

const WITH_BODY = refuse('invalid_value', 'A wish to upgrade has no body. Send none.')
