/** Which keys a tenant seals secrets to, before the gateway is given anything. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isRefusal } from '../../../core/base/refusal.ts'
import { jsonOf, refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { requiresLeases } from './deployment-guard.ts'
import { BEARER, type ControlEnv } from './guard.ts'
import { SDL_BODY_BYTES } from './deployment-routes.ts'
import { sealingKeysJson, sealingKeysSchema } from './sealing-json.ts'

const input = z.strictObject({
  sdl: z.string().min(1).max(SDL_BODY_BYTES).openapi({
    description: 'The file, with `sealed-by-baseload` for each registry password.',
  }),
  deployment: z.string().max(100).optional().openapi({
    description: 'Id or name, where its secrets are sealed anew.',
  }),
})

export function sealingRoute(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/deployments/sealing-keys',
    summary: 'Nodes that could run this, and the keys that secrets for it are sealed to',
    security: BEARER,
    middleware: requiresLeases(parts),
    request: { body: { ...jsonOf('What is to run.', input), required: true } },
    responses: { 200: jsonOf('The keys.', sealingKeysSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { sdl, deployment = null } = c.req.valid('json')
    const answer = await leases.sealingKeys(caller.account, sdl, deployment)
    return isRefusal(answer) ? refused(c, answer) : c.json(sealingKeysJson(answer), 200)
  })
}
