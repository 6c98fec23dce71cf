/** How control routes answer: lists, money, times and refusals look the same everywhere. */
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { formatUsd, type NanoUsd } from '../../../core/base/money.ts'
import { errorBody, REFUSALS, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { refusalHeaders } from '../../../io/http/respond.ts'

export const moneySchema = z
  .object({
    nano_usd: z.string().openapi({ description: 'Exact: nano-dollars.', example: '4999876543' }),
    usd: z.string().openapi({ description: 'The same in dollars.', example: '4.999876543' }),
  })
  .openapi('Money')

export const money = (nanoUsd: NanoUsd) => ({ nano_usd: String(nanoUsd), usd: formatUsd(nanoUsd) })

export const timeSchema = z.iso.datetime().openapi({ example: '2027-01-31T12:00:00.000Z' })
export const time = (at: Millis): string => new Date(at).toISOString()
export const timeOrNull = (at: Millis | null): string | null => (at === null ? null : time(at))

const errorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().openapi({ description: 'One of the codes in docs/errors.md.' }),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  })
  .openapi('Error')

/** The `default` response of each route: every refusal has the same shape. */
export const REFUSED = {
  description: 'Refused: the status, the code and what to do are in docs/errors.md.',
  content: { 'application/json': { schema: errorSchema } },
}

export const jsonOf = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
})

/** Every status in `REFUSALS`, as the route types know them. */
const refusalStatus = z.literal([
  400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 421, 426, 429, 431, 500, 502, 503, 504,
])

/** A refusal as a typed response of a route. */
export function refused(c: Context, refusal: Refusal) {
  const body = errorSchema.parse(JSON.parse(errorBody(refusal)))
  const status = refusalStatus.parse(REFUSALS[refusal.code].status)
  return c.json(body, status, refusalHeaders(refusal))
}

export const MAX_PAGE = 1000
const DEFAULT_PAGE = 100

/** Query of every list: `limit` and `after`, the last id of the page before. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE),
  after: z.string().max(100).optional().openapi({ description: 'The last id of the page before.' }),
})

export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({ object: z.literal('list'), data: z.array(item), has_more: z.boolean() })

/** One page of a list in its order. An `after` that is not there any more starts again at the front. */
export function pageOf<T extends { readonly id: string }>(
  all: readonly T[],
  page: z.infer<typeof pageQuery>,
) {
  const start = page.after === undefined ? 0 : all.findIndex(({ id }) => id === page.after) + 1
  const data = all.slice(start, start + page.limit)
  return { object: 'list' as const, data, has_more: start + data.length < all.length }
}
