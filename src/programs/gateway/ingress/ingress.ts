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
import { aimOf, framingOf } from './request-shape.ts'
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

export function createIngress(options: IngressOptions): Ingress {
  const { table, domains = ['localhost'], behindProxy = false } = options
  const suffixes = domains.map((domain) => `.${plainHost(domain)}`)
  const pool = new ServicePool()

  function lookUp(request: IncomingMessage): { target: IngressTarget; path: string } | Refusal {
    const aim = aimOf(request)
    if (isRefusal(aim)) return aim
    const entry = table.find(aim.host)
    if (entry === undefined) return unknownHost(aim.host)
    return entry.state === 'running' ? { ...entry, path: aim.path } : notRunning(entry)
  }

  return {
    takes({ headers }) {
      const host = plainHost(headers.host ?? '')
      return suffixes.some((suffix) => host.endsWith(suffix)) || table.find(host) !== undefined
    },
    request(request, response) {
      const framing = framingOf(request)
      if (isRefusal(framing)) {
        // Where its body ends is anyone's guess: nothing more is read from this connection.
        response.shouldKeepAlive = false
        return refuseVisitor(request, response, framing)
      }
      const found = lookUp(request)
      if (isRefusal(found)) return refuseVisitor(request, response, found)
      new ProxiedRequest({ request, response, framing, behindProxy, ...found }, pool).start()
    },
    upgrade(request, socket, head) {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket' || !(socket instanceof Socket))
        return false
      socket.on('error', () => socket.destroy())
      const framing = framingOf(request)
      const found = isRefusal(framing) ? framing : lookUp(request)
      if (isRefusal(found)) refuseVisitor(request, answerOn({ request, socket }), found)
      else if (!isRefusal(framing) && framing.kind !== 'none')
        refuseVisitor(request, answerOn({ request, socket }), UPGRADE_WITH_BODY)
      else void proxyUpgrade({ request, socket, head, behindProxy, ...found }, pool)
      return true
    },
    close: () => pool.close(),
  }
}

const UPGRADE_WITH_BODY = refuse('invalid_value', 'A wish to upgrade has no body. Send none.')
