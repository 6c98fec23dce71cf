/** The network as it is now. Open to everyone: a market needs its prices seen. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../../core/base/time.ts'
import { TIERS } from '../../../core/protocol/tier.ts'
import { jsonOf, listOf, pageOf, pageQuery, refused, REFUSED } from './answers.ts'
import type { ControlParts, LinkedNode } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'
import { absentNodeJson, nodeDetailSchema, nodeJson, nodeSchema } from './network-json.ts'

const networkSchema = z
  .object({
    object: z.literal('network'),
    gateway: z.string(),
    gateway_key: z.string().openapi({ description: 'Ed25519, base64url.' }),
    version: z.string(),
    nodes: z.int(),
    models: z.array(z.object({ model: z.string(), nodes: z.int(), slots: z.int(), free: z.int() })),
    slots: z.int(),
    free_slots: z.int(),
  })
  .openapi('Network')

const nodeParam = z.object({ id: z.string().max(100) })

const nodeFilter = pageQuery.extend({
  model: z.string().max(200).optional(),
  region: z.string().max(40).optional(),
  tier: z.enum(TIERS).optional(),
})

export function networkRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  getNetwork(app, parts)
  listNodes(app, parts)
  getNode(app, parts)
  setTier(app, parts)
}

function getNetwork(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { network } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/network',
    summary: 'Totals of what is linked to this gateway',
    responses: { 200: jsonOf('The totals.', networkSchema), default: REFUSED },
  })
  app.openapi(route, (c) => {
    const models = modelTotals(parts)
    return c.json(
      {
        object: 'network' as const,
        gateway: parts.gatewayId,
        gateway_key: parts.gatewayKey,
        version: parts.version,
        nodes: network.nodes().length,
        models,
        slots: models.reduce((sum, { slots }) => sum + slots, 0),
        free_slots: models.reduce((sum, { free }) => sum + free, 0),
      },
      200,
    )
  })
}

function listNodes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { network, now } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/network/nodes',
    summary: 'The linked nodes: models, prices, capacity, speed, uptime',
    request: { query: nodeFilter },
    responses: { 200: jsonOf('A page of nodes, by id.', listOf(nodeSchema)), default: REFUSED },
  })
  app.openapi(route, (c) => {
    const query = c.req.valid('query')
    const matching = network
      .nodes()
      .filter((node) => matches(node, query))
      .map((node) => ({ id: node.link.node, node }))
    const page = pageOf(matching.toSorted(byId), query)
    return c.json({ ...page, data: page.data.map(({ node }) => nodeJson(node, now())) }, 200)
  })
}

function getNode(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { network, store, now } = parts
  // Anyone may ask about any node: the database is asked at most every few seconds.
  const known = rememberedFor(5 * SECOND, now, () => store.nodes())
  const route = createRoute({
    method: 'get',
    path: '/v1/network/nodes/{id}',
    summary: 'One node, with its signed offer',
    request: { params: nodeParam },
    responses: { 200: jsonOf('The node.', nodeDetailSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { id } = c.req.valid('param')
    const linked = network.nodes().find(({ link }) => link.node === id)
    if (linked)
      return c.json({ ...nodeJson(linked, now()), signed_offer: linked.link.signedOffer }, 200)
    const record = (await known()).find(({ node }) => node === id)
    return record ? c.json(absentNodeJson(record, now()), 200) : refused(c, noSuchNode(id))
  })
}

function setTier(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { network, store } = parts
  const route = createRoute({
    method: 'patch',
    path: '/v1/network/nodes/{id}',
    summary: "Set a node's tier (operator)",
    security: BEARER,
    middleware: requires(parts, 'operator'),
    request: {
      params: nodeParam,
      body: { ...jsonOf('The tier.', z.strictObject({ tier: z.enum(TIERS) })), required: true },
    },
    responses: {
      200: jsonOf(
        'The node and its tier.',
        z.object({ object: z.literal('node'), id: z.string(), tier: z.enum(TIERS) }),
      ),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const { id } = c.req.valid('param')
    const record = await store.setTier(id, c.req.valid('json').tier)
    if (!record) return refused(c, noSuchNode(id))
    network.changed(record)
    parts.logger.info('node.tier', { id, tier: record.tier, by: c.var.caller.id })
    return c.json({ object: 'node' as const, id, tier: record.tier }, 200)
  })
}

function matches({ link, record, replicas }: LinkedNode, query: z.infer<typeof nodeFilter>) {
  const { model, region, tier } = query
  return (
    (tier === undefined || (record?.tier ?? 'community') === tier) &&
    (region === undefined || link.offer.region === region) &&
    (model === undefined || replicas.some((replica) => replica.model.model === model))
  )
}

function rememberedFor<T>(forMs: Millis, now: () => Millis, ask: () => Promise<T>) {
  let answer: { readonly at: Millis; readonly value: T } | null = null
  return async (): Promise<T> => {
    if (answer === null || now() - answer.at >= forMs) answer = { at: now(), value: await ask() }
    return answer.value
  }
}

function modelTotals({ network }: ControlParts) {
  const totals = new Map<string, { model: string; nodes: number; slots: number; free: number }>()
  for (const { replicas } of network.nodes()) {
    for (const { model: offered, free } of replicas) {
      const { model } = offered
      const sum = totals.get(model) ?? { model, nodes: 0, slots: 0, free: 0 }
      sum.nodes += 1
      sum.slots += offered.slots
      sum.free += free
      totals.set(model, sum)
    }
  }
  return [...totals.values()].toSorted((a, b) => (a.model < b.model ? -1 : 1))
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)

const noSuchNode = (id: string): Refusal =>
  refuse('not_found', `No node '${id}' is known here. GET /v1/network/nodes lists the linked ones.`)
