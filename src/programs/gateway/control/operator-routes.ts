/** What only an operator may do: make tenants, and give them test credit. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { idFrom } from '../../../core/base/id.ts'
import { NANO_PER_USD } from '../../../core/base/money.ts'
import { isRefusal, refuse } from '../../../core/base/refusal.ts'
import { NO_LIMITS, tenantLedger, TEST_CREDIT, type Account } from '../../../io/store/store.ts'
import {
  jsonOf,
  listOf,
  money,
  moneySchema,
  pageOf,
  pageQuery,
  refused,
  REFUSED,
  time,
  timeSchema,
} from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'
import {
  keyJson,
  limitsFrom,
  limitsInput,
  limitsJson,
  limitsSchema,
  newKeySchema,
  usdInput,
} from './key-json.ts'
import { mintSecret } from './key-secret.ts'

const MAX_CREDIT_USD = 1_000_000n

const accountSchema = z.object({
  object: z.literal('account'),
  id: z.string(),
  kind: z.enum(['tenant', 'operator']),
  name: z.string(),
  created_at: timeSchema,
  limits: limitsSchema,
})

const newAccountInput = z.strictObject({
  name: z.string().trim().min(1).max(80),
  limits: limitsInput.optional(),
})

const creditInput = z.strictObject({
  amount_usd: usdInput.refine((nano) => nano > 0n && nano <= MAX_CREDIT_USD * NANO_PER_USD, {
    message: `more than 0 and at most ${MAX_CREDIT_USD} dollars`,
  }),
  idempotency_key: z.string().min(1).max(100).openapi({
    description:
      'Yours to choose. The same key with the same contents moves nothing twice; with others it is a conflict.',
  }),
  note: z.string().max(200).default(''),
})

const creditSchema = z.object({
  object: z.literal('credit'),
  account: z.string(),
  amount: moneySchema,
  test_credit: z.literal(true),
  posted: z.boolean().openapi({ description: 'False: this key was posted before, nothing moved.' }),
  balance: moneySchema,
})

export function operatorRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  listAccounts(app, parts)
  createAccount(app, parts)
  creditAccount(app, parts)
}

function listAccounts(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/accounts',
    summary: 'All accounts (operator)',
    security: BEARER,
    middleware: requires(parts, 'operator'),
    request: { query: pageQuery },
    responses: { 200: jsonOf('A page of accounts.', listOf(accountSchema)), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const page = pageOf(await store.accounts(), c.req.valid('query'))
    return c.json({ ...page, data: page.data.map(accountJson) }, 200)
  })
}

function createAccount(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, keyring, logger } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/accounts',
    summary: 'A new tenant and its first key (operator)',
    security: BEARER,
    middleware: requires(parts, 'operator'),
    request: { body: { ...jsonOf('The tenant.', newAccountInput), required: true } },
    responses: {
      201: jsonOf('The tenant and its key.', accountSchema.extend({ key: newKeySchema })),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const input = c.req.valid('json')
    const account = await store.createAccount({
      id: idFrom('acct', parts.randomBytes(15)),
      kind: 'tenant',
      name: input.name,
      limits: limitsFrom(input.limits),
    })
    const { secret, hash, hint } = mintSecret(parts.randomBytes)
    const key = await store.createKey({
      id: idFrom('key', parts.randomBytes(15)),
      account: account.id,
      name: 'first key',
      hint,
      hash,
      scopes: ['inference', 'account', 'keys', 'deployments'],
      limits: NO_LIMITS,
      budgetNanoUsd: null,
      expiresAt: null,
    })
    keyring.changed(key)
    logger.info('account.created', { id: account.id, by: c.var.caller.id })
    return c.json({ ...accountJson(account), key: { ...keyJson(key, parts.now()), secret } }, 201)
  })
}

function creditAccount(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, logger } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/accounts/{id}/credits',
    summary: 'Give an account test credit (operator)',
    security: BEARER,
    middleware: requires(parts, 'operator'),
    request: {
      params: z.object({ id: z.string().max(100) }),
      body: { ...jsonOf('The credit.', creditInput), required: true },
    },
    responses: { 200: jsonOf('The credit and the new balance.', creditSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { id } = c.req.valid('param')
    const { amount_usd: nanoUsd, idempotency_key: key, note } = c.req.valid('json')
    const account = await store.account(id)
    if (!account) {
      const why = `There is no account '${id}'. GET /v1/accounts lists them.`
      return refused(c, refuse('not_found', why))
    }
    const outcome = await store.transfer({
      // The account is part of the key: one key for two accounts is two credits, not a conflict.
      key: `credit:${id}:${key}`,
      debit: TEST_CREDIT,
      credit: tenantLedger(id),
      nanoUsd,
      kind: 'deposit',
      reference: note,
    })
    if (isRefusal(outcome)) return refused(c, outcome)
    const posted = outcome === 'posted'
    if (posted) logger.info('account.credited', { id, nanoUsd, by: c.var.caller.id })
    const { balanceNanoUsd } = await store.balance(tenantLedger(id))
    return c.json(
      {
        object: 'credit' as const,
        account: id,
        amount: money(nanoUsd),
        test_credit: true as const,
        posted,
        balance: money(balanceNanoUsd),
      },
      200,
    )
  })
}

const accountJson = (account: Account) => ({
  object: 'account' as const,
  id: account.id,
  kind: account.kind,
  name: account.name,
  created_at: time(account.createdAt),
  limits: limitsJson(account.limits),
})
