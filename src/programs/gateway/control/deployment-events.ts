/** What happens to a deployment: as a page, or followed as server-sent events that go on where they broke off. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { streamSSE, type SSEStreamingApi } from 'hono/streaming'
import { isRefusal, reasonOf, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { DeploymentView, LeaseService } from '../leases/lease-service.ts'
import { listOf, refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { requiresLeases } from './deployment-guard.ts'
import { eventJson, eventSchema } from './deployment-json.ts'
import { deploymentParam } from './deployment-routes.ts'
import { BEARER, type ControlEnv } from './guard.ts'

/** Each follower holds a connection. */
const MAX_FOLLOWERS_PER_ACCOUNT = 100
/** A comment so often keeps proxies from calling a quiet stream dead: the strictest usual one waits 60 s. */
const COMMENT_EVERY_MS = 20_000

const seq = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

/** Returns what ends every stream, so that a shutdown waits for none: followers come back. */
export function deploymentEventRoutes(
  app: OpenAPIHono<ControlEnv>,
  parts: ControlParts,
): () => void {
  const followers = new Map<string, Set<Bell>>()
  const route = createRoute({
    method: 'get',
    path: '/v1/deployments/{id}/events',
    summary: 'What happened to it; with `accept: text/event-stream`, also what happens',
    description:
      'The stream ends after the deployment is closed. The header `last-event-id` goes on after that event, ' +
      'as `after` does; where nothing can follow any more the answer is 204.',
    security: BEARER,
    middleware: requiresLeases(parts),
    request: {
      params: deploymentParam,
      query: z.object({
        after: seq.default(0).openapi({ description: 'Only events after this `seq`.' }),
      }),
      headers: z.object({ 'last-event-id': seq.optional() }),
    },
    responses: {
      200: {
        description: 'Events, oldest first.',
        content: {
          'application/json': { schema: listOf(eventSchema) },
          'text/event-stream': { schema: z.string() },
        },
      },
      204: { description: 'A stream was asked for, and there is nothing left to follow.' },
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const { caller, leases } = c.var
    const { account } = caller
    const deployment = await leases.deployment(account, c.req.valid('param').id)
    if (isRefusal(deployment)) return refused(c, deployment)
    const after = c.req.valid('header')['last-event-id'] ?? c.req.valid('query').after
    const events = await leases.events(account, deployment.id, after)
    if (isRefusal(events)) return refused(c, events)
    if (!wantsStream(c.req.header('accept')))
      return c.json({ object: 'list' as const, data: events.map(eventJson), has_more: false }, 200)
    if (deployment.closedAt !== null && events.length === 0) return c.body(null, 204)
    const bells = followers.get(account) ?? new Set()
    if (bells.size >= MAX_FOLLOWERS_PER_ACCOUNT) return refused(c, tooManyFollowers())
    const bell = new Bell()
    followers.set(account, bells.add(bell))
    return streamSSE(c, async (stream) => {
      try {
        await follow({ leases, account, deployment, after }, stream, bell)
      } catch (error) {
        // It goes on elsewhere or later: the follower knows the last event that it has.
        parts.logger.warn('event stream ended', { id: deployment.id, error: reasonOf(error) })
      } finally {
        bells.delete(bell)
        if (bells.size === 0) followers.delete(account)
      }
    })
  })
  return () => {
    for (const bells of followers.values()) for (const bell of bells) bell.close()
  }
}

const wantsStream = (accept = ''): boolean => accept.includes('text/event-stream')

type Followed = {
  readonly leases: LeaseService
  readonly account: string
  readonly deployment: DeploymentView
  readonly after: number
}

/** Writes events as they come, until the deployment is closed, the reader gone, or the bell closed. */
async function follow(
  { leases, account, deployment: { id }, after }: Followed,
  stream: SSEStreamingApi,
  bell: Bell,
): Promise<void> {
  const unwatch = leases.watch(id, () => bell.ring())
  const comments = setInterval(() => void stream.write(': still here\n\n'), COMMENT_EVERY_MS)
  stream.onAbort(() => bell.close())
  try {
    // So that the head leaves at once, also where nothing happens for long.
    await stream.write(': follows\n\n')
    let last = after
    do {
      const events = await leases.events(account, id, last)
      if (isRefusal(events)) return
      for (const event of events) {
        // Waits while the reader does not read: events are kept in the database, not in memory.
        await stream.writeSSE({
          id: String(event.seq),
          event: event.type,
          data: JSON.stringify(eventJson(event)),
        })
        last = event.seq
      }
      if (events.length === 0 && (await isClosed(leases, account, id))) return
      // What is there may be more than one page.
      if (events.length > 0) bell.ring()
    } while (await bell.rung())
  } finally {
    unwatch()
    clearInterval(comments)
  }
}

async function isClosed(leases: LeaseService, account: string, id: string): Promise<boolean> {
  const now = await leases.deployment(account, id)
  return isRefusal(now) || now.closedAt !== null
}

/** Remembers one ring while nobody listens. */
class Bell {
  #rung = false
  #closed = false
  #listener: (() => void) | null = null

  ring(): void {
    this.#rung = true
    this.#listener?.()
  }

  close(): void {
    this.#closed = true
    this.#listener?.()
  }

  /** Resolves at the next ring, or the last one that nobody heard; false once it is closed. */
  async rung(): Promise<boolean> {
    if (!this.#rung && !this.#closed)
      await new Promise<void>((resolve) => {
        this.#listener = resolve
      })
    this.#listener = null
    this.#rung = false
    return !this.#closed
  }
}

const tooManyFollowers = (): Refusal =>
  refuse(
    'concurrency_limit_exceeded',
    `Your account follows ${MAX_FOLLOWERS_PER_ACCOUNT} event streams already. Close some first.`,
    { details: { limit: MAX_FOLLOWERS_PER_ACCOUNT } },
  )
