/** Builds a gateway from its parts, and takes it down in the order in which nothing is lost. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { Fault, isRefusal, reasonOf } from '../../core/base/refusal.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import { LINK_PATH } from '../../core/protocol/link.ts'
import { TUNNEL_PATH } from '../../core/protocol/tunnel.ts'
import { CORS_HEADERS, PREFLIGHT_HEADERS } from '../../io/http/cors.ts'
import { createHttpServer, type HttpServerOptions } from '../../io/http/http-server.ts'
import { sendJson, sendRefusal } from '../../io/http/respond.ts'
import { loadIdentity } from '../../io/keys/identity.ts'
import { loadSecret } from '../../io/keys/secret.ts'
import { createLinkServer } from '../../io/link/link-server.ts'
import { addressOf } from '../../io/link/own-address.ts'
import type { ObjectStore } from '../../io/objects/object-store.ts'
import { openObjectStore } from '../../io/objects/open-store.ts'
import { createPostgresStore } from '../../io/store/postgres-store.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { createGatewayMetrics } from '../../io/telemetry/metrics.ts'
import type { GatewayConfig } from './config.ts'
import { createControlApi } from './control-api.ts'
import type { ControlParts, ReadyPart } from './control/control-parts.ts'
import { createCore } from './core.ts'
import { createIngress } from './ingress/ingress.ts'
import type { PublicPlace } from './leases/lease-views.ts'
import { createInference, type InferenceParts } from './inference.ts'
import { createLeaseTunnels } from './lease-tunnels.ts'
import { openSettlement } from './money/open-settlement.ts'
import type { SettlementChain } from './money/settlement.ts'
import { readListPrices } from './list-prices.ts'
import { listModels } from './model-list.ts'
import { requestFields, requestLine } from './request-line.ts'
import type { PayoutPlace, Payouts } from './money/payouts.ts'
import { startSharedClock } from './shared-clock.ts'
import { openTls } from './tls/gateway-tls.ts'
import { sendToHttps } from './tls/to-https.ts'
import type { openX402 } from './x402/x402.ts'
import { VERSION } from '../../core/base/version.ts'

export type RunningGateway = {
  readonly url: string
  /** The port for HTTPS; null: none. */
  readonly tlsPort: number | null
  readonly id: string
  /** Where snapshots of volumes go, in words. */
  readonly snapshots: string
  /** Finishes what runs, settles what is owed, gives the holds back. */
  close(): Promise<void>
}

export type GatewayParts = {
  readonly logger: Logger
  /** One line for people per request, when the config asks for it. */
  readonly say: (line: string) => void
  /** Pays providers on chain in another way than the config says: for tests. */
  readonly makePayouts?: (place: PayoutPlace) => Payouts
  /** Another chain than the one that the config tells of: for tests. */
  readonly openChain?: ((store: Store) => Promise<SettlementChain>) | undefined
}

/** Answers that still run at a shutdown get this long; then their connections are cut and tenants retry. */
const CLOSE_DEADLINE_MS = 10_000
/** Who asks for a receipt right after the answer waits for it at most so long. */
const RECEIPT_WAIT_MS = 2_000
/** Where nodes dial. */
const NODE_PATHS: ReadonlySet<string> = new Set([LINK_PATH, TUNNEL_PATH])
const HOT: ReadonlyMap<string, Api> = new Map([
  ['/v1/chat/completions', 'chat'],
  ['/v1/completions', 'completion'],
  ['/v1/embeddings', 'embedding'],
])

export async function startGateway(
  config: GatewayConfig,
  { logger, say, openChain, makePayouts }: GatewayParts,
): Promise<RunningGateway> {
  const identity = loadIdentity('gw', join(config.home, 'gateway.key'))
  const objects = openObjectStore(config, identity.id)
  await checkObjects(objects, logger)
  const store = await createPostgresStore({ url: config.databaseUrl, logger })
  const clock = await startSharedClock({ store, logger })
  const { now } = clock
  const money = await openSettlement(
    config,
    { store, logger, now, gateway: identity.id },
    openChain,
  )
  const settlement = money?.settlement ?? null
  const metrics = createGatewayMetrics()
  let listening = config.port
  const core = createCore(config, {
    identity,
    store,
    objects,
    metrics,
    logger,
    now,
    secret: loadSecret(join(config.home, 'gateway.secret')),
    makePayouts: makePayouts ?? money?.makePayouts ?? null,
    place: () => publicPlace(config, listening),
    settlement,
  })
  await settlement?.start()
  await core.keyring.start()
  await core.book.claim()
  core.dispatcher.meter.recover()
  const { table, meter } = core.dispatcher
  const x402Parts = { config, store, keyring: core.keyring, table, meter, logger, now }
  const x402 = settlement && config.x402 ? await withX402({ ...x402Parts, ...settlement }) : null
  await x402?.topups.resume()

  let accepting = true
  const asJson = config.logRequests === 'json' || config.logRequests === 'both'
  const forPeople = config.logRequests === 'pretty' || config.logRequests === 'both'
  const report: InferenceParts['report'] = (done) => {
    if (asJson) logger.info('request', requestFields(done))
    if (forPeople) say(requestLine(done))
  }
  const listPrices = readListPrices(config.listPrices)
  const serve = createInference({
    dispatcher: core.dispatcher,
    keyring: core.keyring,
    metrics,
    listPrices,
    x402: x402?.door ?? null,
    accepting: () => accepting,
    report,
  })
  const links = createLinkServer({
    identity,
    events: core.network.events,
    now,
    logger,
    addresses: nodeAddressesOf(config),
  })
  const controlParts: ControlParts = {
    store,
    authenticate: async (authorization, scope) => {
      const entry = await core.keyring.authenticate(authorization ?? undefined, scope)
      return isRefusal(entry) ? entry : entry.key
    },
    keyring: core.keyring,
    network: core.network,
    leases: core.leases,
    payouts: core.payouts,
    settlement: settlement?.desk ?? null,
    topups: x402?.topups ?? null,
    settled: (id) => core.dispatcher.desk.quiet(id, RECEIPT_WAIT_MS),
    metrics,
    ready: () => readiness(store, accepting),
    now,
    randomBytes,
    gatewayId: identity.id,
    gatewayKey: identity.publicKey,
    version: VERSION,
    logger,
  }
  const controlApi = createControlApi(controlParts)
  const tunnels = createLeaseTunnels(controlParts)
  const control = getRequestListener((request) => controlApi.fetch(request), {
    errorHandler: () => controlApi.unreadable(),
  })

  const ingress = createIngress({ table: core.hosts, domains: [config.leaseDomain] })

  const tls = openTls(config, {
    hosts: core.hosts,
    tenantOf: core.book.tenantOf,
    now,
    logger,
  })
  const behaviour = {
    onRequest(request, response) {
      if (ingress.takes(request)) ingress.request(request, response)
      else route(request, response)
    },
    onUpgrade(request, socket, head) {
      if (ingress.takes(request)) return ingress.upgrade(request, socket, head)
      if (!wantsWebSocket(request)) return false
      if (!NODE_PATHS.has(pathOf(request))) return tunnels.upgrade(request, socket, head)
      if (accepting) links.upgrade(request, socket, head)
      else socket.destroy()
      return true
    },
    // A gigabyte takes its time.
    hasOwnLimits: (request) => ingress.takes(request),
    maxConnections: config.maxConnections,
  } satisfies HttpServerOptions
  const server = createHttpServer({
    ...behaviour,
    onRequest(request, response) {
      const answer = tls?.answer(pathOf(request)) ?? null
      if (answer !== null) response.writeHead(200, { 'content-type': 'text/plain' }).end(answer)
      else if (config.tlsRedirect && secure !== null) sendToHttps(request, response, securePort())
      else behaviour.onRequest(request, response)
    },
  })
  const secure = tls && createHttpServer({ ...behaviour, tls: tls.server })
  let tlsListening: number | null = null
  /** As tenants see it: something in front may have another. */
  const securePort = (): number => {
    const place = publicPlace(config, listening)
    return place.https ? place.port : (tlsListening ?? 443)
  }

  function route(request: IncomingMessage, response: ServerResponse): void {
    const path = pathOf(request)
    const api = HOT.get(path)
    if (request.method === 'OPTIONS') response.writeHead(204, PREFLIGHT_HEADERS).end()
    else if (api !== undefined && request.method === 'POST') serve(api, request, response)
    else if (request.method === 'GET' && (path === '/v1/models' || path.startsWith('/v1/models/')))
      models(path, request, response)
    else void control(request, response)
  }

  function models(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { authorization } = request.headers
    // Who pays with the request has no key, and has to choose what to ask for.
    const caller =
      x402 !== null && authorization === undefined
        ? null
        : core.keyring.authenticate(authorization, 'inference')
    void Promise.resolve(caller)
      .catch((error: unknown) => core.dispatcher.storeDown(error))
      .then((key) => {
        const answer = isRefusal(key) ? key : listModels(path, core.network.nodes())
        if (isRefusal(answer)) sendRefusal(response, answer, CORS_HEADERS)
        else sendJson(response, 200, answer, CORS_HEADERS)
      })
  }

  const port = await server.listen({ host: config.host, port: config.port })
  listening = port
  if (secure !== null && config.tlsPort !== null)
    tlsListening = await secure.listen({
      host: config.host,
      port: config.tlsPort,
      flag: '--tls-port',
    })
  tls?.start()
  logger.info('gateway listens', { gateway: identity.id, port, tlsPort: tlsListening })
  return {
    url: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
    id: identity.id,
    snapshots: objects.place,
    tlsPort: tlsListening,
    async close() {
      accepting = false
      controlApi.close()
      tunnels.close()
      ingress.close()
      tls?.close()
      // Nodes stay linked until the answers and their receipts are through.
      await Promise.all([server.close(CLOSE_DEADLINE_MS), secure?.close(CLOSE_DEADLINE_MS)])
      await core.receiptsIn()
      x402?.close()
      await links.close()
      await core.close()
      clock.close()
      await store.close()
    },
  }
}

/** Settings that can never work end the start; a store that is away for the moment does not. */
async function checkObjects(objects: ObjectStore, logger: Logger): Promise<void> {
  try {
    await objects.check()
    logger.info('snapshots are kept', { place: objects.place })
  } catch (error) {
    if (!(error instanceof Fault) || !error.retryable) throw error
    logger.warn('snapshots cannot be kept just now', {
      place: objects.place,
      error: reasonOf(error),
    })
  }
}

/** What it needs of viem and x402 is loaded where it is wanted. */
async function withX402(
  parts: Parameters<typeof openX402>[0],
): Promise<ReturnType<typeof openX402>> {
  const { openX402: open } = await import('./x402/x402.ts')
  return open(parts)
}

/** None where the operator named none. */
function nodeAddressesOf({ publicUrl, nodeAddresses }: GatewayConfig): readonly string[] {
  return publicUrl === null ? nodeAddresses : [addressOf(publicUrl), ...nodeAddresses]
}

function publicPlace({ publicUrl, leaseDomain: domain }: GatewayConfig, port: number): PublicPlace {
  if (publicUrl === null) return { domain, port, https: false }
  const url = new URL(publicUrl)
  const https = url.protocol === 'https:'
  return { domain, https, port: Number(url.port) || (https ? 443 : 80) }
}

/** Ready when requests would be served: the database answers, and no shutdown has begun. */
async function readiness(store: Store, accepting: boolean): Promise<ReadyPart[]> {
  const why = await store.ping().then(
    () => null,
    (error: unknown) => reasonOf(error),
  )
  return [
    { part: 'store', ok: why === null, why },
    { part: 'requests', ok: accepting, why: accepting ? null : 'the gateway is shutting down' },
  ]
}

const wantsWebSocket = ({ headers }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === 'websocket'

const pathOf = ({ url = '/' }: IncomingMessage): string => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}
