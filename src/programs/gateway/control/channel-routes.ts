/** Payment channels: bound to the caller's account, topped up by vouchers, closed. A voucher is acknowledged when it is durable. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Voucher } from '../../../core/ledger/channel-config.ts'
import { channelUnknown, settlementOff } from '../money/channel-refusals.ts'
import type { ChannelService, ChannelView } from '../money/channel-service.ts'
import { jsonOf, refused, REFUSED } from './answers.ts'
import {
  bindInput,
  chainJson,
  chainSchema,
  channelJson,
  channelParam,
  channelSchema,
  readVoucher,
  voucherInput,
} from './channel-json.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'

export function channelRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  getChain(app, parts)
  bindChannel(app, parts)
  listChannels(app, parts)
  addVoucher(app, parts)
  closeChannel(app, parts)
}

function getChain(app: OpenAPIHono<ControlEnv>, { settlement }: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/chain',
    summary: 'The chain, token, contracts and terms that channels are opened with',
    responses: { 200: jsonOf('The chain.', chainSchema), default: REFUSED },
  })
  app.openapi(route, (c) =>
    settlement ? c.json(chainJson(settlement.facts), 200) : refused(c, settlementOff()),
  )
}

function bindChannel(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { settlement } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/channels',
    summary: "Binds a channel with a final deposit to the caller's account, and takes its voucher",
    security: BEARER,
    middleware: requires(parts, 'account'),
    request: { body: { ...jsonOf('The channel and a voucher.', bindInput), required: true } },
    responses: { 201: jsonOf('The channel.', channelSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    if (!settlement) return refused(c, settlementOff())
    const { channels, facts } = settlement
    const { network, config, voucher } = c.req.valid('json')
    const expected = `eip155:${facts.chainId}`
    if (network !== undefined && network !== expected)
      return refused(c, wrongChain(expected, network))
    const proof = readVoucher(channels.channelId(config), voucher)
    const opened = await channels.open(config, c.var.caller.account, proof)
    if (isRefusal(opened)) return refused(c, opened)
    if (proof.maxClaimable > 0n) {
      const credited = await take(channels, proof)
      // Bound again, with a voucher that is known: the channel stands as it should.
      if (isRefusal(credited) && credited.code !== 'voucher_stale') return refused(c, credited)
    }
    return c.json(channelJson(channels.channel(proof.channelId) ?? opened), 201)
  })
}

function listChannels(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { settlement } = parts
  const route = createRoute({
    method: 'get',
    path: '/v1/channels',
    summary: "The account's channels, oldest first: in this order they are used up",
    security: BEARER,
    middleware: requires(parts, 'account'),
    responses: {
      200: jsonOf(
        'The channels.',
        z.object({ object: z.literal('list'), data: z.array(channelSchema) }),
      ),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    if (!settlement) return refused(c, settlementOff())
    const { channels } = settlement
    const { account } = c.var.caller
    const [first] = channels.channels(account)
    // Counts what is spent of all of them.
    if (first) await channels.refresh(first.id)
    return c.json(
      { object: 'list' as const, data: channels.channels(account).map(channelJson) },
      200,
    )
  })
}

function addVoucher(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { settlement } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/channels/{id}/vouchers',
    summary: 'Takes a higher voucher; answers when it is durable and credited',
    security: BEARER,
    middleware: requires(parts, 'account'),
    request: {
      params: channelParam,
      body: { ...jsonOf('The voucher.', voucherInput), required: true },
    },
    responses: {
      200: jsonOf('The channel.', channelSchema),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    if (!settlement) return refused(c, settlementOff())
    const { channels } = settlement
    const { id } = c.req.valid('param')
    // One that another gateway bound is found in the store when its voucher is taken.
    const known = channels.channel(id)
    if (known && known.account !== c.var.caller.account) return refused(c, channelUnknown(id))
    const voucher = readVoucher(id, c.req.valid('json'))
    const credited = await take(channels, voucher)
    const view = channels.channel(id)
    if (isRefusal(credited)) return refused(c, credited)
    return view ? c.json(channelJson(view), 200) : refused(c, channelUnknown(id))
  })
}

function closeChannel(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const { settlement } = parts
  const route = createRoute({
    method: 'post',
    path: '/v1/channels/{id}/close',
    summary: 'Claims what is spent and refunds the rest to the payer',
    security: BEARER,
    middleware: requires(parts, 'account'),
    request: { params: channelParam },
    responses: { 202: jsonOf('The channel, closing.', channelSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    if (!settlement) return refused(c, settlementOff())
    const { id } = c.req.valid('param')
    const closing = await settlement.channels.close(id, c.var.caller.account)
    return isRefusal(closing) ? refused(c, closing) : c.json(channelJson(closing), 202)
  })
}

/**
 * Resolves when the voucher is durable. One that is known to the unit is the answer that got lost, asked for again: it is
 * acknowledged, too, once it is durable.
 */
async function take(
  channels: ChannelService,
  voucher: Voucher,
): Promise<ChannelView | Refusal | null> {
  const accepted = await channels.accept(voucher)
  if (!isRefusal(accepted)) return await accepted.durable
  if (accepted.code !== 'voucher_stale') return accepted
  await channels.settled(voucher.channelId)
  const view = channels.channel(voucher.channelId)
  const same = view?.ceilingUnits === voucher.maxClaimable && channels.verify(voucher) === null
  return same ? view : accepted
}

const wrongChain = (expected: string, got: string): Refusal =>
  refuse(
    'channel_wrong_chain',
    `This gateway settles on ${expected}; the channel is on ${got}. GET /v1/chain tells it.`,
    { param: 'network', details: { expected, got } },
  )
