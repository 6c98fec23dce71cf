/** Who may deploy, where anyone can. */
import { createMiddleware } from 'hono/factory'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { ApiKey } from '../../../io/store/store.ts'
import type { LeaseService } from '../leases/lease-service.ts'
import { refused } from './answers.ts'
import type { ControlParts } from './control-parts.ts'

type LeaseEnv = { Variables: { requestId: string; caller: ApiKey; leases: LeaseService } }

/** Lets a request pass when its key may deploy and this gateway deals in leases: `c.var.caller`, `c.var.leases`. */
export const requiresLeases = (parts: Pick<ControlParts, 'authenticate' | 'leases'>) =>
  createMiddleware<LeaseEnv>(async (c, next) => {
    const authorization = c.req.header('authorization') ?? null
    const caller = await parts.authenticate(authorization, 'deployments')
    if (isRefusal(caller)) return refused(c, caller)
    if (parts.leases === null) return refused(c, noLeases())
    c.set('caller', caller)
    c.set('leases', parts.leases)
    return next()
  })

export const noLeases = (): Refusal =>
  refuse(
    'leases_unavailable',
    'This gateway was started without leases: it routes requests to models and deploys nothing. Use another gateway.',
  )
