/** API keys of the caller's account: made, listed, changed, revoked. No key can give more than it has. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { idFrom } from '../../../core/base/id.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { ApiKey, Scope } from '../../../io/store/store.ts'
import { jsonOf, listOf, pageOf, pageQuery, refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'
import {
  keyChangeInput,
  keyJson,
  keySchema,
  limitsFrom,
  newKeyInput,
  newKeySchema,
} from './key-json.ts'
import { mintSecret } from './key-secret.ts'

/** Keeps an account's keys in one query and in every gateway's memory. */
export const MAX_KEYS_PER_ACCOUNT = 1000

const keyParam = z.object({ id: z.string().max(100) })

export function keyRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  listKeys(app, parts)
  createKey(app, parts)
  getKey(app, parts)
  changeKey(app, parts)
  revokeKey(app, parts)
}

function listKeys(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, now } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/keys',
    summary: "The account's keys",
    security: BEARER,
    middleware: requires(parts, 'keys'),
    request: { query: pageQuery },
    responses: { 200: jsonOf('A page of keys.', listOf(keySchema)), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const keys = await store.keys(c.var.caller.account)
    const page = pageOf(keys, c.req.valid('query'))
    return c.json({ ...page, data: page.data.map((key) => keyJson(key, now())) }, 200)
  })
}

function createKey(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, keyring, now } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/keys',
    summary: 'A new key; its secret is shown only now',
    security: BEARER,
    middleware: requires(parts, 'keys'),
    request: { body: { ...jsonOf('The new key.', newKeyInput), required: true } },
    responses: { 201: jsonOf('The key and its secret.', newKeySchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller } = c.var
    const input = c.req.valid('json')
    const no = mayNotGive(caller, input.scopes) ?? inThePast(input.expires_at, now())
    if (no) return refused(c, no)
    const alive = (await store.keys(caller.account)).filter(({ revokedAt }) => revokedAt === null)
    if (alive.length >= MAX_KEYS_PER_ACCOUNT) return refused(c, tooManyKeys())
    const { secret, hash, hint } = mintSecret(parts.randomBytes)
    const key = await store.createKey({
      id: idFrom('key', parts.randomBytes(15)),
      account: caller.account,
      name: input.name,
      hint,
      hash,
      scopes: input.scopes,
      limits: limitsFrom(input.limits),
      budgetNanoUsd: input.budget_usd,
      expiresAt: input.expires_at,
    })
    keyring.changed(key)
    parts.logger.info('key.created', { id: key.id, account: key.account, by: caller.id })
    return c.json({ ...keyJson(key, now()), secret }, 201)
  })
}

function getKey(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { now } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/keys/{id}',
    summary: 'One key',
    security: BEARER,
    middleware: requires(parts, 'keys'),
    request: { params: keyParam },
    responses: { 200: jsonOf('The key.', keySchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { id } = c.req.valid('param')
    const key = await keyOf(parts, c.var.caller, id)
    return key ? c.json(keyJson(key, now()), 200) : refused(c, noSuchKey(id))
  })
}

function changeKey(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, keyring, now } = parts
  const route = createRoute({
    method: 'patch',
    path: '/v1/keys/{id}',
    summary: 'Change name, scopes, limits, budget or expiry; what is not named stays',
    security: BEARER,
    middleware: requires(parts, 'keys'),
    request: {
      params: keyParam,
      body: { ...jsonOf('What to change.', keyChangeInput), required: true },
    },
    responses: { 200: jsonOf('The key as it is now.', keySchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller } = c.var
    const { id } = c.req.valid('param')
    const input = c.req.valid('json')
    const before = await keyOf(parts, caller, id)
    if (!before) return refused(c, noSuchKey(id))
    const scopes = [...before.scopes, ...(input.scopes ?? [])]
    const no = mayNotGive(caller, scopes) ?? inThePast(input.expires_at, now())
    if (no) return refused(c, no)
    if (before.revokedAt !== null) return refused(c, alreadyRevoked(id))
    const key = await store.updateKey(caller.account, id, {
      ...(input.name === undefined ? {} : { name: input.name }),
      ...(input.scopes === undefined ? {} : { scopes: input.scopes }),
      ...(input.limits === undefined ? {} : { limits: limitsFrom(input.limits, before.limits) }),
      ...(input.budget_usd === undefined ? {} : { budgetNanoUsd: input.budget_usd }),
      ...(input.expires_at === undefined ? {} : { expiresAt: input.expires_at }),
    })
    if (!key) return refused(c, noSuchKey(id))
    keyring.changed(key)
    parts.logger.info('key.changed', { id, account: key.account, by: caller.id })
    return c.json(keyJson(key, now()), 200)
  })
}

function revokeKey(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, keyring, now } = parts
  const route = createRoute({
    method: 'delete',
    path: '/v1/keys/{id}',
    summary: 'Revoke a key, for ever; twice is fine',
    security: BEARER,
    middleware: requires(parts, 'keys'),
    request: { params: keyParam },
    responses: { 200: jsonOf('The revoked key.', keySchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller } = c.var
    const { id } = c.req.valid('param')
    const key = await store.revokeKey(caller.account, id)
    if (!key) return refused(c, noSuchKey(id))
    keyring.changed(key)
    parts.logger.info('key.revoked', { id, account: key.account, by: caller.id })
    return c.json(keyJson(key, now()), 200)
  })
}

/** Only ever a key of the caller's own account: another's is as unknown as one that never was. */
async function keyOf(parts: ControlParts, caller: ApiKey, id: string): Promise<ApiKey | null> {
  const keys = await parts.store.keys(caller.account)
  return keys.find((key) => key.id === id) ?? null
}

/**
 * A key hands on only scopes that it has. One with bounds of its own (budget, expiry, limits) hands on
 * nothing: its bounds would not bind the new key.
 */
function mayNotGive(caller: ApiKey, scopes: readonly Scope[]): Refusal | null {
  const missing = scopes.find((scope) => !caller.scopes.includes(scope))
  if (missing !== undefined) {
    const why = `The key ${caller.hint}… has no scope '${missing}', so it cannot give or change it.`
    return refuse('scope_missing', why, { param: 'scopes' })
  }
  const bounded =
    caller.budgetNanoUsd !== null ||
    caller.expiresAt !== null ||
    Object.values(caller.limits).some((limit) => limit !== null)
  if (!bounded) return null
  const why = `The key ${caller.hint}… has a budget, an expiry or limits of its own, so it cannot make or change keys. Use one without.`
  return refuse('scope_missing', why)
}

function inThePast(expiresAt: number | null | undefined, now: number): Refusal | null {
  if (expiresAt == null || expiresAt > now) return null
  const why = "'expires_at' is in the past. To end a key now, revoke it with DELETE."
  return refuse('invalid_value', why, { param: 'expires_at' })
}

const noSuchKey = (id: string): Refusal =>
  refuse('not_found', `Your account has no key '${id}'. GET /v1/keys lists them.`)

const alreadyRevoked = (id: string): Refusal =>
  refuse('conflict', `The key '${id}' is revoked, and stays so. Make a new one with POST /v1/keys.`)

const tooManyKeys = (): Refusal =>
  refuse(
    'conflict',
    `An account has at most ${MAX_KEYS_PER_ACCOUNT} keys that are not revoked. Revoke some first.`,
  )
