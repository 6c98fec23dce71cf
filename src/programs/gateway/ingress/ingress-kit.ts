/** For tests of the ingress: real services behind a real node, link and tunnels, and visitors who ask for them. */
import { once } from 'node:events'
import {
  createServer,
  request as ask,
  type ClientRequest,
  type IncomingHttpHeaders,
  type RequestListener,
  type RequestOptions,
} from 'node:http'
import { request as askSecurely } from 'node:https'
import { connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { HTTP_DEFAULTS } from '../../../core/sdl/http-options.ts'
import type { HttpOptions } from '../../../core/protocol/manifest.ts'
import { createHttpServer } from '../../../io/http/http-server.ts'
import type { TlsOptions } from '../../../io/http/tls-server.ts'
import { startGateway, startNode, type TestNode } from '../../../io/link/test-kit.ts'
import type { IncomingTunnel } from '../../../io/link/tunnel-dialler.ts'
import { joinStreams } from './join-streams.ts'
import { createIngress, type Ingress, type IngressOptions } from './ingress.ts'
import { IngressTable, type IngressTarget } from './ingress-table.ts'

/** The host name that leads to the service. */
export const HOST = 'web.1.localhost'

type VisitOptions = Omit<RequestOptions, 'headers'> & {
  readonly headers?: Readonly<Record<string, string | number>>
  readonly body?: string | Uint8Array
}

export type Visited = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export type IngressSetup = {
  readonly ingress: Ingress
  readonly table: IngressTable
  readonly target: IngressTarget
  readonly node: TestNode
  /** Where visitors connect. */
  readonly port: number
  /** Tunnels that the node was asked for, by replica. */
  readonly tunnels: number[]
  readonly visit: (options?: VisitOptions) => Promise<Visited>
  /** A connection for bytes by hand. */
  readonly dial: () => Socket
}

/** A listener for HTTP, or a server of anything. */
type Service = RequestListener | Server

/** Each service is one copy of `web`. */
export async function setupIngress(
  t: TestContext,
  services: readonly Service[],
  {
    http = {},
    tls,
    ...options
  }: Partial<IngressOptions> & { http?: Partial<HttpOptions>; tls?: TlsOptions } = {},
): Promise<IngressSetup> {
  const gateway = await startGateway()
  t.after(() => gateway.close())
  const ports = await Promise.all(services.map((service) => serve(t, service)))
  const tunnels: number[] = []
  const node = startNode(gateway.url, {
    random: () => 0,
    onTunnel(request) {
      if (request.purpose.kind === 'tcp') tunnels.push(request.purpose.replica)
      bridge(request, ports)
    },
  })
  t.after(() => node.client.close())
  await gateway.linked(node.identity.id)

  const target: IngressTarget = {
    lease: 'lease_1',
    epoch: 1,
    service: 'web',
    port: 80,
    replicas: services.length,
    http: { ...HTTP, ...http },
    link: () => gateway.server.links().get(node.identity.id) ?? null,
  }
  const table = new IngressTable({ own: ['gateway.localhost'] })
  table.set(HOST, { state: 'running', target }, target.lease)
  const ingress = createIngress({ table, ...options })
  t.after(() => ingress.close())
  const server = createHttpServer({
    onRequest: (request, response) =>
      ingress.takes(request)
        ? ingress.request(request, response)
        : response.end('the gateway itself'),
    onUpgrade: (request, socket, head) =>
      ingress.takes(request) && ingress.upgrade(request, socket, head),
    hasOwnLimits: (request) => ingress.takes(request),
    requestTimeoutMs: 300,
    checkIntervalMs: 50,
    ...(tls && { tls }),
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => server.close(0))
  return {
    ingress,
    table,
    target,
    node,
    port,
    tunnels,
    visit: (how) => visit(tls ? askByTls : ask, port, how),
    dial: () => connect(port, '127.0.0.1'),
  }
}

/** As the SDL has them by default, but for the body. */
const HTTP: HttpOptions = { ...HTTP_DEFAULTS, maxBodyBytes: 0 }

async function serve(t: TestContext, service: Service): Promise<number> {
  const server = typeof service === 'function' ? createServer(service) : service
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return portOf(server)
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('no TCP port')
  return address.port
}

/** What a node does with a tunnel to a port. */
function bridge(request: IncomingTunnel, ports: readonly number[]): void {
  const { purpose } = request
  const port = purpose.kind === 'tcp' ? ports[purpose.replica] : undefined
  if (port === undefined) return request.refuse('service_unknown', 'no such copy')
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  socket.once('error', () => request.refuse('port_refused', `nothing listens on ${port}`))
  socket.once('connect', () => {
    const drop = (): void => void socket.destroy()
    socket.removeAllListeners('error').on('error', drop)
    request.accept().then((tunnel) => {
      joinStreams(socket, tunnel)
    }, drop)
  })
}

const askByTls = (options: RequestOptions): ClientRequest =>
  askSecurely({ servername: HOST, rejectUnauthorized: false, ...options })

async function visit(
  send: (options: RequestOptions) => ClientRequest,
  port: number,
  { body, headers, ...options }: VisitOptions = {},
): Promise<Visited> {
  const request = send({
    host: '127.0.0.1',
    port,
    agent: false,
    ...options,
    headers: { host: HOST, ...headers },
  })
  request.end(body)
  return new Promise((resolve, reject) => {
    request.once('error', reject)
    request.once('response', (answer) => {
      text(answer).then(
        (whole) =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            rawHeaders: answer.rawHeaders,
            body: whole,
          }),
        reject,
      )
    })
  })
}
