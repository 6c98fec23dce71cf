/** API keys and limits as JSON: what is shown, and what may be asked for. */
import { z } from '@hono/zod-openapi'
import { parseUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import { NO_LIMITS, SCOPES, type AccountLimits, type ApiKey } from '../../../io/store/store.ts'
import { money, moneySchema, time, timeOrNull, timeSchema } from './answers.ts'

const MAX_LIMIT = 1_000_000_000 // keeps the arithmetic of token buckets exact
const limit = z.int().min(1).max(MAX_LIMIT).nullable()

export const limitsSchema = z
  .strictObject({
    requests_per_minute: limit,
    tokens_per_minute: limit,
    concurrency: limit,
  })
  .openapi('Limits', { description: 'null: no limit.' })

export const limitsInput = limitsSchema.partial()

export const limitsJson = (limits: AccountLimits) => ({
  requests_per_minute: limits.requestsPerMinute,
  tokens_per_minute: limits.tokensPerMinute,
  concurrency: limits.concurrency,
})

/** What is not named keeps its value from `before`. */
export const limitsFrom = (
  input: z.infer<typeof limitsInput> = {},
  before: AccountLimits = NO_LIMITS,
): AccountLimits => ({
  requestsPerMinute: given(input.requests_per_minute, before.requestsPerMinute),
  tokensPerMinute: given(input.tokens_per_minute, before.tokensPerMinute),
  concurrency: given(input.concurrency, before.concurrency),
})

const given = <T>(value: T | undefined, otherwise: T): T =>
  value === undefined ? otherwise : value

const usdText = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,9})?$/, 'dollars as a decimal string, like "12.50"')
  .openapi({ example: '12.50' })

/** A decimal string of dollars → nano-dollars. */
export const usdInput = usdText.transform((text) => parseUsd(text) ?? 0n)

export const keySchema = z
  .object({
    object: z.literal('api_key'),
    id: z.string(),
    name: z.string(),
    hint: z.string().openapi({ description: 'How the key begins.', example: 'sk-bl-3fK9' }),
    status: z.enum(['active', 'expired', 'revoked']),
    scopes: z.array(z.enum(SCOPES)),
    limits: limitsSchema,
    budget: moneySchema.nullable(),
    spent: moneySchema,
    created_at: timeSchema,
    expires_at: timeSchema.nullable(),
    revoked_at: timeSchema.nullable(),
  })
  .openapi('ApiKey')

export const newKeySchema = keySchema
  .extend({ secret: z.string().openapi({ description: 'The key itself, shown only now.' }) })
  .openapi('NewApiKey')

export function keyJson(key: ApiKey, now: Millis) {
  return {
    object: 'api_key' as const,
    id: key.id,
    name: key.name,
    hint: key.hint,
    status: statusOf(key, now),
    scopes: [...key.scopes],
    limits: limitsJson(key.limits),
    budget: key.budgetNanoUsd === null ? null : money(key.budgetNanoUsd),
    spent: money(key.spentNanoUsd),
    created_at: time(key.createdAt),
    expires_at: timeOrNull(key.expiresAt),
    revoked_at: timeOrNull(key.revokedAt),
  }
}

function statusOf(key: ApiKey, now: Millis): z.infer<typeof keySchema>['status'] {
  if (key.revokedAt !== null) return 'revoked'
  return key.expiresAt !== null && key.expiresAt <= now ? 'expired' : 'active'
}

const name = z.string().trim().min(1).max(80)
const scopes = z
  .array(z.enum(SCOPES))
  .min(1)
  .max(SCOPES.length)
  .transform((list) => [...new Set(list)])
const expiry = z.iso
  .datetime({ offset: true })
  .transform((text) => Date.parse(text))
  .nullable()

export const newKeyInput = z.strictObject({
  name,
  scopes: scopes.default(['inference']),
  limits: limitsInput.optional(),
  budget_usd: usdInput.nullable().default(null),
  expires_at: expiry.default(null),
})

export const keyChangeInput = z.strictObject({
  name: name.optional(),
  scopes: scopes.optional(),
  limits: limitsInput.optional(),
  budget_usd: usdInput.nullable().optional(),
  expires_at: expiry.optional(),
})
