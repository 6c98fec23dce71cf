/** What a gateway says of its chain and of channels, as wallets read it. Amounts are decimal strings of units. */
import { z } from 'zod'
import { isHex, lowerHex, type Hex } from '../../../core/base/hex.ts'

const units = z
  .string()
  .regex(/^\d{1,39}$/)
  .transform(BigInt)
const hexOf = (bytes: number) =>
  z
    .custom<Hex>((text) => isHex(text, bytes), `must be 0x and ${bytes} bytes of hex`)
    .transform(lowerHex)

/** GET /v1/chain */
export const chainAnswer = z.looseObject({
  chain_id: z.number().int().min(1),
  test_money: z.boolean(),
  token: z.looseObject({
    address: hexOf(20),
    symbol: z.string().max(16),
    decimals: z.number().int().min(0).max(36),
  }),
  contracts: z.looseObject({ channels: hexOf(20), collector: hexOf(20).nullish() }),
  operator: hexOf(20),
  finality_depth: z.number().int().min(0).max(100_000),
  min_withdraw_delay_seconds: z.number().int().min(0),
  voucher_step: units,
  rpc_url: z.string().nullish(),
})
export type ChainAnswer = z.output<typeof chainAnswer>

/** One channel, as the gateway sees it. */
export const channelAnswer = z.looseObject({
  id: hexOf(32),
  state: z.string(),
  deposit: units,
  ceiling: units,
  charged: units,
  claimed: units,
})
export type ChannelAnswer = z.output<typeof channelAnswer>

/** GET /v1/channels */
export const channelsAnswer = z.looseObject({ data: z.array(channelAnswer) })

/** A refusal with 402: the voucher that would help. */
export const voucherNeeded = z.looseObject({
  error: z.looseObject({
    code: z.literal('voucher_needed'),
    details: z.looseObject({ channelId: hexOf(32), needCeiling: units }),
  }),
})

/** Any refusal. */
export const refusalAnswer = z.looseObject({
  error: z.looseObject({ code: z.string().nullish(), message: z.string() }),
})
