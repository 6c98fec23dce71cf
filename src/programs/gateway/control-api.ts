/**
 * The gateway's control API: all of HTTP but the model routes. Hono with zod, because here a schema that
 * describes itself is worth more than a microsecond.
 */
import { OpenAPIHono } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { idFrom } from '../../core/base/id.ts'
import { errorBody, refuse, REFUSALS } from '../../core/base/refusal.ts'
import { CORS_HEADERS, PREFLIGHT_HEADERS } from '../../io/http/cors.ts'
import { accountRoutes } from './control/account-routes.ts'
import { refused } from './control/answers.ts'
import {
  bodyTooLarge,
  CONTROL_BODY_BYTES,
  refusalOfIssues,
  refusalOfThrown,
} from './control/bad-input.ts'
import { channelRoutes } from './control/channel-routes.ts'
import type { ControlParts } from './control/control-parts.ts'
import { deploymentEventRoutes } from './control/deployment-events.ts'
import { deploymentRoutes, SDL_BODY_BYTES } from './control/deployment-routes.ts'
import type { ControlEnv } from './control/guard.ts'
import { documentInference } from './control/inference-docs.ts'
import { keyRoutes } from './control/key-routes.ts'
import { networkRoutes } from './control/network-routes.ts'
import { operatorRoutes } from './control/operator-routes.ts'
import { payoutRoutes } from './control/payout-routes.ts'
import { receiptRoutes } from './control/receipt-routes.ts'
import { sealingRoute } from './control/sealing-route.ts'
import { serviceRoutes } from './control/service-routes.ts'
import { snapshotRoutes } from './control/snapshot-routes.ts'
import { routeTable, strayRefusal, type RouteTable } from './control/strays.ts'
import { tunnelRoute } from './control/tunnel-route.ts'
import { x402Routes } from './control/x402-routes.ts'

export type ControlApi = {
  fetch(request: Request): Response | Promise<Response>
  /** The answer to a request whose path or host makes no URL, so that there is nothing to fetch. */
  unreadable(): Response
  /** Ends the streams that would never end by themselves; what follows them comes back elsewhere. */
  close(): void
}

/** Answers every request it is given: also OPTIONS, unknown paths and wrong methods of the model routes. */
export function createControlApi(parts: ControlParts): ControlApi {
  const app = new OpenAPIHono<ControlEnv>({
    defaultHook: (result, c) =>
      result.success ? undefined : refused(c, refusalOfIssues(result.target, result.error)),
  })
  dress(app, parts)
  serviceRoutes(app, parts)
  documentInference(app)
  accountRoutes(app, parts)
  keyRoutes(app, parts)
  receiptRoutes(app, parts)
  payoutRoutes(app, parts)
  channelRoutes(app, parts)
  networkRoutes(app, parts)
  operatorRoutes(app, parts)
  sealingRoute(app, parts)
  deploymentRoutes(app, parts)
  snapshotRoutes(app, parts)
  const endStreams = deploymentEventRoutes(app, parts)
  tunnelRoute(app, parts)
  x402Routes(app, parts)
  const table = describe(app, parts)
  app.notFound((c) => {
    const { refusal, allow } = strayRefusal(table, c.req.method, c.req.path)
    const response = refused(c, refusal)
    if (allow !== null) response.headers.set('allow', allow)
    return response
  })
  return {
    fetch: (request) => app.fetch(request),
    unreadable: () => unreadable(idFrom('req', parts.randomBytes(15))),
    close: endStreams,
  }
}

function unreadable(requestId: string): Response {
  const refusal = refuse('invalid_value', "The path and the header 'Host' do not make a URL.")
  const headers = { 'content-type': 'application/json', 'x-request-id': requestId, ...CORS_HEADERS }
  return new Response(errorBody(refusal), { status: REFUSALS[refusal.code].status, headers })
}

/** What every answer wears: an id, CORS, and an error that tells callers only what is theirs to know. */
function dress(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const [small, large] = [upTo(CONTROL_BODY_BYTES), upTo(SDL_BODY_BYTES)]
  app.use(async (c, next) => {
    const requestId = idFrom('req', parts.randomBytes(15))
    c.set('requestId', requestId)
    c.header('x-request-id', requestId)
    for (const [name, value] of Object.entries(CORS_HEADERS)) c.header(name, value)
    if (c.req.method === 'OPTIONS') return c.body(null, 204, PREFLIGHT_HEADERS)
    return c.req.path.startsWith('/v1/deployments') ? large(c, next) : small(c, next)
  })
  app.onError((thrown, c) => {
    const refusal = refusalOfThrown(thrown)
    if (refusal) return refused(c, refusal)
    const { requestId } = c.var
    parts.logger.error('control request failed', { requestId, path: c.req.path, error: thrown })
    const why = `The gateway failed. Its log tells more under ${requestId}.`
    return refused(c, refuse('internal_error', why))
  })
}

const upTo = (maxSize: number) =>
  bodyLimit({ maxSize, onError: (c) => refused(c, bodyTooLarge(maxSize)) })

/** Writes /openapi.json from the routes, once, and gives the table of all paths. */
function describe(app: OpenAPIHono<ControlEnv>, parts: ControlParts): RouteTable {
  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key: sk-bl-…',
  })
  const path = '/openapi.json'
  app.openAPIRegistry.registerPath({
    method: 'get',
    path,
    summary: 'This description',
    responses: { 200: { description: 'OpenAPI 3.1.' } },
  })
  const { version } = parts
  const document = JSON.stringify(
    app.getOpenAPI31Document({
      openapi: '3.1.0',
      info: {
        title: 'Baseload gateway',
        version,
        description:
          'OpenAI-compatible inference over nodes that come and go. Errors: docs/errors.md.',
        license: { name: 'Apache-2.0' },
      },
    }),
  )
  app.get(path, (c) => c.body(document, 200, { 'content-type': 'application/json' }))
  const routes = app.openAPIRegistry.definitions.flatMap((definition) =>
    definition.type === 'route' ? [definition.route] : [],
  )
  return routeTable(routes)
}
