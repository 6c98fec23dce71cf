/** What machines ask a gateway: is it alive, can it take traffic, how does it do, what does it offer. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { jsonOf, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import type { ControlEnv } from './guard.ts'
import { withoutAddresses } from './without-addresses.ts'

const healthSchema = z
  .object({
    status: z.literal('ok'),
    nowMs: z.int(),
    gateway: z.string(),
    version: z.string(),
  })
  .openapi('Health')

const readySchema = z
  .object({
    status: z.enum(['ready', 'not_ready']),
    parts: z.array(z.object({ part: z.string(), ok: z.boolean(), why: z.string().nullable() })),
  })
  .openapi('Readiness')

export function serviceRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  getHealth(app, parts)
  getReadiness(app, parts)
  getMetrics(app, parts)
}

function getHealth(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/healthz',
    summary: 'The process is alive; needs no database',
    responses: { 200: jsonOf('Alive.', healthSchema), default: REFUSED },
  })
  app.openapi(route, (c) => {
    const { gatewayId: gateway, version } = parts
    return c.json({ status: 'ok' as const, nowMs: parts.now(), gateway, version }, 200)
  })
}

function getReadiness(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/readyz',
    summary: 'The gateway can take traffic; if not, what is missing',
    responses: {
      200: jsonOf('Ready.', readySchema),
      503: jsonOf('Not ready.', readySchema),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const all = (await parts.ready()).map(({ part, ok, why }) => ({
      part,
      ok,
      why: why === null ? null : withoutAddresses(why),
    }))
    return all.every(({ ok }) => ok)
      ? c.json({ status: 'ready' as const, parts: all }, 200)
      : c.json({ status: 'not_ready' as const, parts: all }, 503)
  })
}

function getMetrics(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/metrics',
    summary: 'Prometheus metrics; docs/operations.md explains each',
    responses: {
      200: { description: 'Text.', content: { 'text/plain': { schema: z.string() } } },
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const text = await parts.metrics.text()
    return c.text(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
  })
}
