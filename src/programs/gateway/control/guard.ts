/** Who is asking. Runs before anything of the request is looked at, so that strangers learn nothing. */
import { createMiddleware } from 'hono/factory'
import { isRefusal } from '../../../core/base/refusal.ts'
import type { ApiKey, Scope } from '../../../io/store/store.ts'
import { refused } from './answers.ts'
import type { ControlParts } from './control-parts.ts'

export type ControlEnv = { Variables: { requestId: string } }
type CallerEnv = { Variables: { requestId: string; caller: ApiKey } }

/** Lets a request pass when its key has the scope; the handler finds the key as `c.var.caller`. */
export const requires = (parts: ControlParts, scope: Scope) =>
  createMiddleware<CallerEnv>(async (c, next) => {
    const caller = await parts.authenticate(c.req.header('authorization') ?? null, scope)
    if (isRefusal(caller)) return refused(c, caller)
    c.set('caller', caller)
    return next()
  })

/** Routes that need a key say so in the API's description. */
export const BEARER = [{ apiKey: [] }]
