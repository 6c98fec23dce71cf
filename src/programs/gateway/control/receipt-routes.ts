/** Receipts: of one attempt, or of all attempts of a request. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { refuse } from '../../../core/base/refusal.ts'
import { provenReceiptSchema } from '../../../core/protocol/receipt.ts'
import { settlementOff } from '../money/channel-refusals.ts'
import { accountOfChannel } from '../x402/payer-accounts.ts'
import { jsonOf, refused, REFUSED } from './answers.ts'
import { channelParam } from './channel-json.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'

const receiptsSchema = z.union([
  provenReceiptSchema,
  z.object({
    object: z.literal('list'),
    data: z.array(provenReceiptSchema),
    has_more: z.boolean(),
  }),
])

export function receiptRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  ofAccount(app, parts)
  ofChannel(app, parts)
}

function ofAccount(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/receipts/{id}',
    summary: 'A receipt by its id, or the list of receipts of a request id',
    description:
      'A receipt is signed by its node within 100 ms of the answer; one that is still on its way is waited for, ' +
      'at most 2 s. What comes back can be checked offline: `baseload receipts verify`.',
    security: BEARER,
    middleware: requires(parts, 'account'),
    request: { params: z.object({ id: z.string().max(100) }) },
    responses: { 200: jsonOf('The receipt or receipts.', receiptsSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { id } = c.req.valid('param')
    await parts.settled(id)
    const data = await parts.store.receipts(c.var.caller.account, id)
    const [first] = data
    if (!first) {
      const why = `Your account has no receipt or request '${id}'. A node that vanished leaves no receipt.`
      return refused(c, refuse('not_found', why))
    }
    // One receipt comes as the file that `baseload receipts verify` reads.
    if (first.receipt.id === id) return c.json(first, 200)
    return c.json({ object: 'list' as const, data, has_more: false }, 200)
  })
}

/** Who pays with the request has no key. It alone was told the id, which has 120 random bits, and no prompt is in a receipt. */
function ofChannel(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/channels/{id}/receipts/{receipt}',
    summary: 'A receipt of a request that was paid by x402 from this channel, for who knows both',
    description:
      'It is there once the voucher that paid for it is credited: after a deposit, when that is final.',
    request: {
      params: channelParam.extend({
        receipt: z
          .string()
          .max(100)
          .regex(/^rcpt_/),
      }),
    },
    responses: { 200: jsonOf('The receipt.', provenReceiptSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    if (!parts.settlement) return refused(c, settlementOff())
    const { id, receipt } = c.req.valid('param')
    await parts.settled(receipt)
    const [found] = await parts.store.receipts(accountOfChannel(id), receipt)
    if (found) return c.json(found, 200)
    const why = `The channel has paid for no receipt '${receipt}', or its payment is not final yet.`
    return refused(c, refuse('not_found', why))
  })
}
