/** The tunnel into a lease, as the API's description shows it; `lease-tunnels.ts` serves it where it upgrades. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { refuse } from '../../../core/base/refusal.ts'
import { refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { requiresLeases } from './deployment-guard.ts'
import { deploymentParam } from './deployment-routes.ts'
import { BEARER, type ControlEnv } from './guard.ts'

export function tunnelRoute(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}/tunnel',
    summary: 'A WebSocket into a running container: a port, a shell, logs, files, figures',
    description:
      "Binary messages of at most 256 KiB are the tunnel's bytes; an empty one ends its sender's direction. " +
      '`wish` says what it leads to: a TunnelPurpose of docs/protocol.md without lease and epoch. ' +
      'What is refused is answered before the upgrade, with a status and an error.',
    security: BEARER,
    middleware: requiresLeases(parts),
    request: {
      params: deploymentParam,
      query: z.object({
        wish: z
          .string()
          .optional()
          .openapi({
            description: 'JSON as base64url.',
            example: Buffer.from('{"kind":"tcp","service":"web","replica":0,"port":80}').toString(
              'base64url',
            ),
          }),
      }),
    },
    responses: { 101: { description: 'The tunnel is open.' }, default: REFUSED },
  })
  app.openapi(route, (c) => {
    const why = "This is a WebSocket. Ask with the header 'Upgrade: websocket'."
    return refused(c, refuse('upgrade_required', why))
  })
}
