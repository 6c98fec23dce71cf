/** Snapshots of a deployment's volumes: listed, taken, fetched and removed by their tenant. */
import { Readable } from 'node:stream'
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isRefusal } from '../../../core/base/refusal.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'
import { MAX_TAKING_PER_ACCOUNT } from '../leases/tenant-snapshots.ts'
import { jsonOf, refused, REFUSED, time, timeOrNull, timeSchema } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { requiresLeases } from './deployment-guard.ts'
import { deploymentParam } from './deployment-routes.ts'
import { BEARER, type ControlEnv } from './guard.ts'

const snapshotSchema = z
  .object({
    object: z.literal('snapshot'),
    id: z.string(),
    lease: z.string(),
    service: z.string(),
    replica: z.int(),
    volume: z.string(),
    state: z.enum(['taking', 'ready', 'failed']),
    problem: z.string().nullable().openapi({ description: 'Why it failed.' }),
    begun_at: timeSchema,
    bytes: z.int().openapi({ description: 'Of its tar archive; so far, while it is taken.' }),
    sha256: z.string().nullable().openapi({ description: 'Of its tar archive, hex.' }),
    expires_at: timeSchema
      .nullable()
      .openapi({ description: 'Null: while its lease is open and no newer ones take its place.' }),
  })
  .openapi('Snapshot')

const snapshotJson = (one: SnapshotRecord) => ({
  object: 'snapshot' as const,
  id: one.id,
  lease: one.lease,
  service: one.service,
  replica: one.replica,
  volume: one.volume,
  state: one.state,
  problem: one.problem,
  begun_at: time(one.begunAt),
  bytes: one.bytes,
  sha256: one.sha256,
  expires_at: timeOrNull(one.expiresAt),
})

const volumeSchema = z.object({
  lease: z.string(),
  service: z.string(),
  replica: z.int(),
  volume: z.string(),
})

const listSchema = z.object({
  object: z.literal('list'),
  data: z.array(snapshotSchema),
  has_more: z.literal(false),
  volumes: z.array(volumeSchema).openapi({ description: 'Of which one can be taken.' }),
  used_bytes: z.int().openapi({ description: 'By all snapshots of the account.' }),
  limit_bytes: z.int().openapi({ description: 'What they may take together.' }),
})

const word = z.string().min(1).max(300)
const takeInput = z.strictObject({
  lease: word.optional(),
  service: word.optional(),
  replica: z.int().min(0).max(999).optional(),
  volume: word.optional(),
})
const snapshotParam = deploymentParam.extend({ snapshot: z.string().max(100) })

type Guarded = { security: typeof BEARER; middleware: ReturnType<typeof requiresLeases> }

export function snapshotRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const guarded = { security: BEARER, middleware: requiresLeases(parts) }
  listSnapshots(app, guarded)
  takeSnapshots(app, guarded)
  fetchSnapshot(app, guarded)
  removeSnapshot(app, guarded)
}

function listSnapshots(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}/snapshots',
    summary: 'Snapshots of its volumes, newest first, also for a day after it is closed',
    ...guarded,
    request: { params: deploymentParam },
    responses: { 200: jsonOf('At most 1000.', listSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const answer = await leases.snapshots(caller.account, c.req.valid('param').id)
    if (isRefusal(answer)) return refused(c, answer)
    const { snapshots, volumes, usedBytes, limitBytes } = answer
    const data = snapshots.map(snapshotJson)
    const more = { volumes: [...volumes], used_bytes: usedBytes, limit_bytes: limitBytes }
    return c.json({ object: 'list' as const, data, has_more: false as const, ...more }, 200)
  })
}

function takeSnapshots(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/deployments/{id}/snapshots',
    summary: 'Take one now of each volume that is meant',
    description:
      `Answers when they have begun; the list says when they are ready, or why not. At most ${MAX_TAKING_PER_ACCOUNT} of an ` +
      'account are taken at a time; one that is under way already is given instead of another.',
    ...guarded,
    request: {
      params: deploymentParam,
      body: { ...jsonOf('Which; left out: all.', takeInput), required: true },
    },
    responses: {
      202: jsonOf('Those that are being taken.', listSchema.pick({ object: true, data: true })),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { lease = null, service = null, replica = null, volume = null } = c.req.valid('json')
    const wish = { lease, service, replica, volume }
    const answer = await leases.takeSnapshots(caller.account, c.req.valid('param').id, wish)
    if (isRefusal(answer)) return refused(c, answer)
    return c.json({ object: 'list' as const, data: answer.map(snapshotJson) }, 202)
  })
}

function fetchSnapshot(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}/snapshots/{snapshot}/content',
    summary: 'What the volume held, as a tar archive',
    description:
      'The header `repr-digest` has its SHA-256 (RFC 9530). The connection breaks before the end where the archive is not what ' +
      'was written: then the snapshot is failed, and the one before it is to be asked for.',
    ...guarded,
    request: { params: snapshotParam },
    responses: {
      200: {
        description: 'The archive.',
        content: { 'application/x-tar': { schema: z.string().openapi({ format: 'binary' }) } },
      },
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { id, snapshot: which } = c.req.valid('param')
    const answer = await leases.openSnapshot(caller.account, id, which)
    if (isRefusal(answer)) return refused(c, answer)
    const { snapshot, body } = answer
    const digest = Buffer.from(snapshot.sha256 ?? '', 'hex').toString('base64')
    return new Response(webStreamOf(body), {
      headers: {
        'content-type': 'application/x-tar',
        'content-length': String(snapshot.bytes),
        'repr-digest': `sha-256=:${digest}:`,
        'cache-control': 'no-store',
      },
    })
  })
}

function removeSnapshot(app: OpenAPIHono<ControlEnv>, guarded: Guarded): void {
  const route = createRoute({
    method: 'delete',
    path: '/v1/deployments/{id}/snapshots/{snapshot}',
    summary: 'Remove it, for ever; its bytes are gone within minutes',
    ...guarded,
    request: { params: snapshotParam },
    responses: { 200: jsonOf('As it was.', snapshotSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { id, snapshot } = c.req.valid('param')
    const answer = await leases.removeSnapshot(caller.account, id, snapshot)
    return isRefusal(answer) ? refused(c, answer) : c.json(snapshotJson(answer), 200)
  })
}

/** Asked for piece by piece: whoever reads slowly holds no more than a piece in memory. */
function webStreamOf(body: Readable): ReadableStream<Uint8Array> {
  const pieces = body.iterator()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await pieces.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: () => void body.destroy(),
  })
}
