/** Deployments: screened, made, read, changed and closed. The lease service decides; this is its HTTP face. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isRefusal } from '../../../core/base/refusal.ts'
import { AUCTION_RULES } from '../../../core/market/auction.ts'
import { jsonOf, listOf, MAX_PAGE, refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { requiresLeases } from './deployment-guard.ts'
import {
  deploymentDetailJson,
  deploymentDetailSchema,
  deploymentJson,
  deploymentSchema,
  screeningJson,
  screeningSchema,
} from './deployment-json.ts'
import { BEARER, type ControlEnv } from './guard.ts'
import { newSecretsSchema, secretsSchema } from './sealing-json.ts'

/** A file of a thousand services fits; whoever needs more has data in it. */
export const SDL_BODY_BYTES = 1024 * 1024

export const deploymentParam = z.object({
  id: z.string().max(100).openapi({ description: 'Id, or name of an open deployment.' }),
})
const sdl = z.string().min(1).max(SDL_BODY_BYTES).openapi({ description: 'The file, as it is.' })
const screenInput = z.strictObject({
  sdl,
  sealed: z.boolean().default(false).openapi({
    description: 'It will have secrets: only nodes that they can be sealed for can run it.',
  }),
})
const updateInput = z.strictObject({ sdl, secrets: secretsSchema.optional() })
const deployInput = z.strictObject({
  sdl,
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and -, at most 40')
    .optional()
    .openapi({ description: 'To call it by; without it one is made up.', example: 'shop' }),
  rule: z.enum(AUCTION_RULES).default('cheapest').openapi({
    description: 'Which bid wins. `manual`: none does until `accept`.',
  }),
  secrets: newSecretsSchema.optional(),
})

const onceHeader = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, '1 to 200 visible ASCII characters')
    .optional()
    .openapi({
      description:
        'A name of your own for this request: sent again within 24 h, it gives the deployment that it made, and makes no other.',
      example: '5f0c7a52-7c51-4a38-9f7e-0d3c1b8f3d11',
    }),
})

const detail = jsonOf('The deployment.', deploymentDetailSchema)
const screening = jsonOf('Who can run it, and why others cannot.', screeningSchema)

export function deploymentRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const guarded = { security: BEARER, middleware: requiresLeases(parts) }
  screenSdl(app, guarded)
  createDeployment(app, guarded)
  listDeployments(app, guarded)
  getDeployment(app, guarded)
  updateDeployment(app, guarded)
  closeDeployment(app, guarded)
  getBids(app, guarded)
  acceptBid(app, guarded)
}

type Guarded = { security: typeof BEARER; middleware: ReturnType<typeof requiresLeases> }

function screenSdl(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/deployments/screen',
    summary: 'Who could run this, at what price, and why others cannot; costs nothing',
    ...guarded,
    request: { body: { ...jsonOf('The SDL.', screenInput), required: true } },
    responses: { 200: screening, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { sdl: text, sealed } = c.req.valid('json')
    const answer = await leases.screen(caller.account, text, sealed)
    return isRefusal(answer) ? refused(c, answer) : c.json(screeningJson(answer), 200)
  })
}

function createDeployment(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/deployments',
    summary: 'Deploy; answers after the first auction, while starting goes on',
    ...guarded,
    request: {
      headers: onceHeader,
      body: { ...jsonOf('What to deploy.', deployInput), required: true },
    },
    responses: { 201: detail, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { name = null, secrets = null, ...wish } = c.req.valid('json')
    const idempotencyKey = c.req.valid('header')['idempotency-key'] ?? null
    const once = { ...wish, name, secrets, idempotencyKey }
    const answer = await leases.deploy(caller.account, caller.id, once)
    return isRefusal(answer) ? refused(c, answer) : c.json(deploymentDetailJson(answer), 201)
  })
}

const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(100),
  closed: z.stringbool().default(false).openapi({
    type: 'boolean',
    description: 'With those that are closed.',
  }),
})

function listDeployments(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments',
    summary: 'Your deployments, newest first',
    ...guarded,
    request: { query: listQuery },
    responses: { 200: jsonOf('Deployments.', listOf(deploymentSchema)), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { limit, closed } = c.req.valid('query')
    const found = await leases.deployments(caller.account, { limit: limit + 1, closed })
    const data = found.slice(0, limit).map(deploymentJson)
    return c.json({ object: 'list' as const, data, has_more: found.length > limit }, 200)
  })
}

function getDeployment(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}',
    summary: 'One deployment, its leases, services and addresses',
    ...guarded,
    request: { params: deploymentParam },
    responses: { 200: detail, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const answer = await leases.deployment(caller.account, c.req.valid('param').id)
    return isRefusal(answer) ? refused(c, answer) : c.json(deploymentDetailJson(answer), 200)
  })
}

function updateDeployment(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'put',
    path: '/v1/deployments/{id}',
    summary: 'Change image, env, resources, count or price in place',
    ...guarded,
    request: {
      params: deploymentParam,
      body: { ...jsonOf('The new SDL, whole.', updateInput), required: true },
    },
    responses: { 200: detail, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { sdl: text, secrets } = c.req.valid('json')
    const { id } = c.req.valid('param')
    const answer = await leases.update(caller.account, id, text, secrets?.groups ?? null)
    return isRefusal(answer) ? refused(c, answer) : c.json(deploymentDetailJson(answer), 200)
  })
}

function closeDeployment(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'delete',
    path: '/v1/deployments/{id}',
    summary: 'Close it and all of its leases, for ever; twice is fine',
    ...guarded,
    request: { params: deploymentParam },
    responses: { 200: detail, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const answer = await leases.close(caller.account, c.req.valid('param').id)
    return isRefusal(answer) ? refused(c, answer) : c.json(deploymentDetailJson(answer), 200)
  })
}

function getBids(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}/bids',
    summary: 'The bids that stand, or would stand now',
    ...guarded,
    request: { params: deploymentParam },
    responses: { 200: screening, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const answer = await leases.bids(caller.account, c.req.valid('param').id)
    return isRefusal(answer) ? refused(c, answer) : c.json(screeningJson(answer), 200)
  })
}

function acceptBid(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/deployments/{id}/leases/{lease}/accept',
    summary: "Take this node's bid, where the rule is `manual`",
    ...guarded,
    request: {
      params: deploymentParam.extend({ lease: z.string().max(100) }),
      body: {
        ...jsonOf('Whose bid.', z.strictObject({ node: z.string().min(1).max(100) })),
        required: true,
      },
    },
    responses: { 200: detail, default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { id, lease } = c.req.valid('param')
    const answer = await leases.accept(caller.account, id, lease, c.req.valid('json').node)
    return isRefusal(answer) ? refused(c, answer) : c.json(deploymentDetailJson(answer), 200)
  })
}
