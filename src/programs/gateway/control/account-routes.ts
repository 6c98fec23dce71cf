/** What an account has, and what it used. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { refuse } from '../../../core/base/refusal.ts'
import { DAY } from '../../../core/base/time.ts'
import { tenantLedger, type Usage, type UsageSummary } from '../../../io/store/store.ts'
import { jsonOf, money, moneySchema, refused, REFUSED, time, timeSchema } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'
import { keyJson, keySchema, limitsJson, limitsSchema } from './key-json.ts'

const accountSchema = z
  .object({
    object: z.literal('account'),
    id: z.string(),
    kind: z.enum(['tenant', 'operator']),
    name: z.string(),
    created_at: timeSchema,
    test_credit: z.boolean().openapi({
      description:
        'True: test money is in the balance, good on this network only or worth nothing.',
    }),
    balance: moneySchema,
    held: moneySchema.openapi({ description: 'Set aside for requests that are running.' }),
    available: moneySchema,
    limits: limitsSchema,
    key: keySchema,
  })
  .openapi('Account')

const usageRow = z.object({
  requests: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  cost: moneySchema,
})

const attemptSchema = z.object({
  attempt: z.string(),
  request: z.string(),
  key: z.string(),
  node: z.string(),
  model: z.string(),
  api: z.enum(['chat', 'completion', 'embedding']),
  billed_input_tokens: z.int(),
  output_tokens: z.int(),
  cost: moneySchema,
  started_at: timeSchema,
  finished_at: timeSchema,
  witness: z.enum(['node', 'gateway']),
})

const usageSchema = z
  .object({
    object: z.literal('usage'),
    from: timeSchema,
    to: timeSchema,
    totals: usageRow,
    by_day: z.array(usageRow.extend({ day: z.string() })),
    by_model: z.array(usageRow.extend({ model: z.string() })),
    by_node: z.array(usageRow.extend({ node: z.string() })),
    recent: z.array(attemptSchema),
  })
  .openapi('Usage')

const MAX_RANGE_DAYS = 366 // a year of days fits on a page; the sums are made over whole days
const DEFAULT_RANGE_DAYS = 30
const MAX_RECENT = 100

const moment = z.union([z.iso.datetime({ offset: true }), z.iso.date()]).optional()
const usageQuery = z.object({
  from: moment.openapi({ description: 'Date or time; default 30 days before `to`.' }),
  to: moment.openapi({ description: 'Date or time, not included; default now.' }),
  recent: z.coerce.number().int().min(0).max(MAX_RECENT).default(20),
})

export function accountRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  getAccount(app, parts)
  getUsage(app, parts)
}

function getAccount(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store, settlement } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/account',
    summary: 'Balance, limits and the key that asks',
    security: BEARER,
    middleware: requires(parts, 'account'),
    responses: { 200: jsonOf('The account.', accountSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { caller } = c.var
    const [found, balance, given] = await Promise.all([
      store.account(caller.account),
      store.balance(tenantLedger(caller.account)),
      store.testCredit(caller.account),
    ])
    if (!found) throw new Error(`key ${caller.id} belongs to no account`)
    const { balanceNanoUsd, heldNanoUsd } = balance
    return c.json(
      {
        object: 'account' as const,
        id: found.id,
        kind: found.kind,
        name: found.name,
        created_at: time(found.createdAt),
        test_credit: given > 0n || settlement === null || settlement.facts.testMoney,
        balance: money(balanceNanoUsd),
        held: money(heldNanoUsd),
        available: money(balanceNanoUsd - heldNanoUsd),
        limits: limitsJson(found.limits),
        key: keyJson(caller, parts.now()),
      },
      200,
    )
  })
}

function getUsage(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { store } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/usage',
    summary: 'What was used, by day, model and node, and the latest attempts',
    security: BEARER,
    middleware: requires(parts, 'account'),
    request: { query: usageQuery },
    responses: { 200: jsonOf('The usage.', usageSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const query = c.req.valid('query')
    const to = query.to === undefined ? parts.now() : Date.parse(query.to)
    const from = query.from === undefined ? to - DEFAULT_RANGE_DAYS * DAY : Date.parse(query.from)
    if (from >= to || to - from > MAX_RANGE_DAYS * DAY) {
      const why = `'from' must be before 'to', by at most ${MAX_RANGE_DAYS} days.`
      return refused(c, refuse('invalid_value', why, { param: 'from' }))
    }
    const id = c.var.caller.account
    const [rows, recent] = await Promise.all([
      store.usage(id, from, to),
      query.recent === 0 ? [] : store.recentUsage(id, query.recent),
    ])
    return c.json(
      {
        object: 'usage' as const,
        from: time(from),
        to: time(to),
        totals: sum(rows),
        by_day: grouped(rows, 'day').map(([day, row]) => ({ day, ...row })),
        by_model: grouped(rows, 'model').map(([model, row]) => ({ model, ...row })),
        by_node: grouped(rows, 'node').map(([node, row]) => ({ node, ...row })),
        recent: recent.map(attemptJson),
      },
      200,
    )
  })
}

function grouped(rows: readonly UsageSummary[], by: 'day' | 'model' | 'node') {
  const groups = new Map<string, UsageSummary[]>()
  for (const row of rows) groups.set(row[by], [...(groups.get(row[by]) ?? []), row])
  return [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, group]) => [name, sum(group)] as const)
}

function sum(rows: readonly UsageSummary[]) {
  let [requests, inputTokens, outputTokens, nanoUsd] = [0, 0, 0, 0n]
  for (const row of rows) {
    requests += row.requests
    inputTokens += row.inputTokens
    outputTokens += row.outputTokens
    nanoUsd += row.nanoUsd
  }
  return {
    requests,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    cost: money(nanoUsd),
  }
}

const attemptJson = (usage: Usage) => ({
  attempt: usage.attempt,
  request: usage.request,
  key: usage.apiKey,
  node: usage.node,
  model: usage.model,
  api: usage.api,
  billed_input_tokens: usage.billedInputTokens,
  output_tokens: usage.outputTokens,
  cost: money(usage.nanoUsd),
  started_at: time(usage.startedAt),
  finished_at: time(usage.finishedAt),
  witness: usage.witness,
})
