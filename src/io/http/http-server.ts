/**
 * A node:http server that strangers may talk to: every wait has an end, every size a limit, every broken
 * request a readable answer, and it closes without breaking what runs.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Fault, refuse } from '../../core/base/refusal.ts'
import { answerBrokenRequest, answerConnect, answerCrowded } from './broken-request.ts'
import { sendRefusal } from './respond.ts'
import { createTlsServer, type TlsOptions } from './tls-server.ts'

export type HttpServerOptions = {
  readonly onRequest: (req: IncomingMessage, res: ServerResponse) => void
  /**
   * Takes over a WebSocket and returns true. Returns false for any other wish to upgrade, and without having
   * touched the socket: it then is an ordinary request. Java's client asks for HTTP/2 with each of its requests.
   */
  readonly onUpgrade?: (req: IncomingMessage, socket: Duplex, head: Buffer) => boolean
  /** Default 10,000: whoever sends headers slower than that holds a connection, not a conversation. */
  readonly headersTimeoutMs?: number
  /** Headers and body together. Default 60,000. */
  readonly requestTimeoutMs?: number
  /** Default 65,000: longer than the 60 s of usual load balancers, so that they close first and no request meets a closed door. */
  readonly keepAliveTimeoutMs?: number
  /** How often the timeouts are looked at. Default 1,000. */
  readonly checkIntervalMs?: number
  /** Default 16 KiB. */
  readonly maxHeaderBytes?: number
  /** Connections at the same time, upgraded ones (node links) not counted. Default 4,096. */
  readonly maxConnections?: number
  /** The same for one remote address. Default: no limit, because behind a load balancer all share one. */
  readonly maxConnectionsPerAddress?: number | null
  /** A body announced larger than this with `Expect: 100-continue` is not asked for. Default 8 MiB. */
  readonly maxBodyBytes?: number
  /**
   * Requests that are answered by a part with limits of its own: once their headers are in, `requestTimeoutMs` and
   * `maxBodyBytes` are not for them, and that part sends its own `100 Continue`. Default: none.
   */
  readonly hasOwnLimits?: (req: IncomingMessage) => boolean
  /** HTTPS. Default: HTTP. */
  readonly tls?: TlsOptions
}

/** `flag`: what a message tells to change; default `--port`. */
type Address = { readonly host: string; readonly port: number; readonly flag?: string }

export type HttpServer = {
  /** Resolves with the real port. Fault `port_taken`, `port_forbidden` or `listen_failed`. */
  listen(address: Address): Promise<number>
  /** Plain connections now, upgraded ones not counted. */
  connections(): number
  /**
   * Stops accepting, lets running requests finish and closes connections as they fall idle; what is left
   * after the deadline is cut. Resolves with how many were cut. Upgraded connections belong to whoever took
   * them over: they are neither waited for nor cut, so that nodes can still hand in receipts.
   */
  close(deadlineMs: number): Promise<number>
}

const MAX_CONNECTIONS = 4096

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const requestTimeoutMs = options.requestTimeoutMs ?? 60_000
  const settings = {
    headersTimeout: Math.min(options.headersTimeoutMs ?? 10_000, requestTimeoutMs),
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 65_000,
    connectionsCheckingInterval: options.checkIntervalMs ?? 1_000,
    maxHeaderSize: options.maxHeaderBytes ?? 16 * 1024,
    noDelay: true,
    // Node's own answer would say nothing.
    requireHostHeader: false,
  }
  const server = options.tls
    ? createTlsServer(settings, options.tls, options.maxConnections ?? MAX_CONNECTIONS)
    : createServer(settings)
  /** What tells of a connection on which HTTP is spoken. */
  const connected = options.tls ? 'secureConnection' : 'connection'
  const crowd = watchConnections(server, connected, options)
  let closing = false

  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    if (!crowd.answering(req.socket, res)) return
    if (closing) res.setHeader('connection', 'close')
    if (req.headers.host === undefined && req.httpVersion === '1.1') sendRefusal(res, NO_HOST)
    else options.onRequest(req, res)
  }
  server.on('request', onRequest)
  server.on('checkExpectation', (_req, res) => sendRefusal(res, NO_SUCH_EXPECTATION))
  server.on('connect', (_req, socket) => answerConnect(socket))
  server.on('checkContinue', (req, res) => {
    const own = options.hasOwnLimits?.(req) ?? false
    // Too large a body is better refused before it is sent.
    const declared = Number(req.headers['content-length'] ?? 0)
    if (!own && declared <= (options.maxBodyBytes ?? 8 * 1024 * 1024)) res.writeContinue()
    onRequest(req, res)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const running = crowd.answerOn(socket)
    const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && running?.writableFinished === false
    if (late && options.hasOwnLimits?.(running.req)) return
    answerBrokenRequest(error, socket, running)
  })
  const { onUpgrade } = options
  if (onUpgrade) {
    server.on('upgrade', (req, socket, head) => {
      crowd.upgraded(socket)
      if (!onUpgrade(req, socket, head)) {
        unreadRequest(req, socket, head)
        server.emit(connected, socket)
      }
    })
  }

  return {
    listen: (address) => listen(server, address),
    connections: () => crowd.plain(),
    close: (deadlineMs) => {
      closing = true
      return closeServer(server, crowd, deadlineMs)
    },
  }
}

const NO_HOST = refuse('invalid_value', "HTTP/1.1 needs the header 'Host'. Send it.")
const NO_SUCH_EXPECTATION = refuse(
  'invalid_value',
  "The header 'Expect' may only ask for '100-continue'.",
)

/** So that the server reads it once more without its wish to upgrade, as RFC 9110, 7.8, allows. */
function unreadRequest(req: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`]
  const { rawHeaders } = req
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'upgrade')
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
}

/** Listens, and says in words why it cannot. Port 0 takes any free one. */
export function listen(server: Server, address: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(whyNotListening(error, address))
    server.once('error', onError)
    const { host, port } = address
    server.listen({ host, port, backlog: 4096 }, () => {
      server.off('error', onError)
      resolve(portOf(server.address()))
    })
  })
}

function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === 'string') throw new TypeError('not listening on TCP')
  return address.port
}

function whyNotListening(
  cause: NodeJS.ErrnoException,
  { host, port, flag = '--port' }: Address,
): Fault {
  if (cause.code === 'EADDRINUSE') {
    const why = `Port ${port} on ${host} is taken by another program. Stop that one, or choose another port with ${flag}.`
    return new Fault('port_taken', why, { cause })
  }
  if (cause.code === 'EACCES') {
    const why = `Port ${port} on ${host} needs rights that this process does not have. Choose one above 1023 with ${flag}.`
    return new Fault('port_forbidden', why, { cause })
  }
  const why = `Cannot listen on ${host}, port ${port}: ${cause.message}. Check --host.`
  return new Fault('listen_failed', why, { cause })
}

type Crowd = {
  plain(): number
  /** Notes the answer being made on this connection; false when the connection was turned away. */
  answering(socket: Duplex, res: ServerResponse): boolean
  answerOn(socket: Duplex): ServerResponse | undefined
  upgraded(socket: Duplex): void
  /** Calls back once no plain connection is left: now or later. */
  onEmpty(then: () => void): void
  /** Connections on which nothing was ever asked: clients open them ahead, and node:http does not call them idle. */
  cutUnused(): void
  cutAll(): number
}

type Connection = {
  readonly address: string
  readonly socket: Socket
  answer: ServerResponse | undefined
}

/** Counts connections and turns away those above the limits. */
function watchConnections(
  server: Server,
  connected: 'connection' | 'secureConnection',
  options: HttpServerOptions,
): Crowd {
  const max = options.maxConnections ?? MAX_CONNECTIONS
  const maxPerAddress = options.maxConnectionsPerAddress ?? Infinity
  const plain = new Map<Duplex, Connection>()
  const perAddress = new Map<string, number>()
  let whenEmpty: (() => void) | null = null

  const leave = (socket: Duplex): void => {
    const connection = plain.get(socket)
    if (!connection) return
    plain.delete(socket)
    if (plain.size === 0) whenEmpty?.()
    const left = (perAddress.get(connection.address) ?? 1) - 1
    if (left > 0) perAddress.set(connection.address, left)
    else perAddress.delete(connection.address)
  }
  server.on(connected, (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const sameAddress = perAddress.get(address) ?? 0
    if (plain.size >= max || sameAddress >= maxPerAddress) return answerCrowded(socket)
    plain.set(socket, { address, socket, answer: undefined })
    perAddress.set(address, sameAddress + 1)
    socket.once('close', () => leave(socket))
  })
  return {
    plain: () => plain.size,
    answering(socket, res) {
      const connection = plain.get(socket)
      if (connection) connection.answer = res
      return connection !== undefined
    },
    answerOn: (socket) => plain.get(socket)?.answer,
    upgraded: leave,
    onEmpty(then) {
      whenEmpty = then
      if (plain.size === 0) then()
    },
    cutUnused() {
      for (const { socket } of plain.values()) if (socket.bytesRead === 0) socket.destroy()
    },
    cutAll() {
      const left = [...plain.keys()]
      for (const socket of left) socket.destroy()
      return left.length
    },
  }
}

/** Connections that finish their last answer are found idle this often while closing. */
const IDLE_CHECK_MS = 50

function closeServer(server: Server, crowd: Crowd, deadlineMs: number): Promise<number> {
  if (!server.listening) return Promise.resolve(0)
  return new Promise((resolve) => {
    let cut = 0
    server.close()
    const idle = setInterval(() => {
      server.closeIdleConnections()
      crowd.cutUnused()
    }, IDLE_CHECK_MS)
    const deadline = setTimeout(() => (cut = crowd.cutAll()), deadlineMs)
    crowd.onEmpty(() => {
      clearInterval(idle)
      clearTimeout(deadline)
      resolve(cut)
    })
  })
}
