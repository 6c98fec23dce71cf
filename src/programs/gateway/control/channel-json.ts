/** Channels and vouchers on the wire: x402's names inside `config` and `voucher`, amounts as decimal strings of units. */
import { z } from '@hono/zod-openapi'
import { bytesOf, isHex, lowerHex, parseAddress } from '../../../core/base/hex.ts'
import { MAX_UINT128, type ChannelConfig } from '../../../core/ledger/channel-config.ts'
import type { ChainFacts, ChannelView } from '../money/channel-service.ts'
import { timeOrNull, timeSchema } from './answers.ts'

const MAX_DELAY_S = 2 ** 40 - 1

const address = z
  .string()
  .max(42)
  .transform((text, context) => {
    const parsed = parseAddress(text)
    if (parsed !== null) return parsed
    context.addIssue({ code: 'custom', message: 'must be 0x and 40 digits of hex' })
    return z.NEVER
  })
  .openapi({ type: 'string', example: `0x${'a1'.repeat(20)}` })

const hex = (bytes: number) =>
  z
    .string()
    .max(2 + 2 * bytes)
    .transform((text, context) => {
      if (isHex(text, bytes)) return lowerHex(text)
      context.addIssue({ code: 'custom', message: `must be 0x and ${2 * bytes} digits of hex` })
      return z.NEVER
    })
    .openapi({ type: 'string' })

/** A decimal string of units, as far as a uint128 goes. */
const units = z
  .string()
  .regex(/^\d{1,39}$/, 'must be a decimal string of units')
  .transform(BigInt)
  .refine((value) => value <= MAX_UINT128, 'must be below 2^128')
  .openapi({ type: 'string', example: '250000' })

export const voucherInput = z
  .object({
    maxClaimableAmount: units.openapi({
      description: 'Units of the token: a ceiling for all that is ever spent of the channel.',
    }),
    signature: hex(65).openapi({
      description: 'EIP-712 Voucher(bytes32 channelId,uint128 maxClaimableAmount): r, s, v.',
    }),
  })
  .openapi('Voucher')

const configInput = z
  .object({
    payer: address,
    payerAuthorizer: address.openapi({
      description: 'The key that signs vouchers; zero: the payer.',
    }),
    receiver: address,
    receiverAuthorizer: address,
    token: address,
    withdrawDelay: z.int().min(0).max(MAX_DELAY_S).openapi({ description: 'Seconds.' }),
    salt: hex(32),
  })
  .openapi('ChannelConfig')

export const bindInput = z
  .object({
    network: z
      .string()
      .max(100)
      .optional()
      .openapi({ description: 'CAIP-2, as `eip155:8453`: checked when it is there.' }),
    config: configInput,
    voucher: voucherInput,
  })
  .openapi('NewChannel')

export const channelParam = z.object({ id: hex(32) })

export const readVoucher = (
  channelId: `0x${string}`,
  { maxClaimableAmount, signature }: z.infer<typeof voucherInput>,
) => ({ channelId, maxClaimable: maxClaimableAmount, signature: bytesOf(signature) })

const amount = z.string().openapi({ description: 'Units of the token.', example: '250000' })

export const channelSchema = z
  .object({
    object: z.literal('channel'),
    id: z.string(),
    account: z.string(),
    state: z.enum(['open', 'closing', 'closed']),
    config: z.object({
      payer: z.string(),
      payerAuthorizer: z.string(),
      receiver: z.string(),
      receiverAuthorizer: z.string(),
      token: z.string(),
      withdrawDelay: z.int(),
      salt: z.string(),
    }),
    deposit: amount.openapi({ description: 'In the contract at the last final block, units.' }),
    ceiling: amount.openapi({ description: 'Of the newest voucher.' }),
    credited: amount.openapi({ description: 'What of it the account was credited.' }),
    charged: amount.openapi({ description: 'What was spent when it was last counted.' }),
    claimed: amount.openapi({ description: 'On chain, at the last final block.' }),
    exit_at: timeSchema.nullable().openapi({
      description: 'When a payer who leaves without consent can take the rest.',
    }),
  })
  .openapi('Channel')

const configJson = (config: ChannelConfig) => ({ ...config })

export const channelJson = (view: ChannelView) => ({
  object: 'channel' as const,
  id: view.id,
  account: view.account,
  state: view.state,
  config: configJson(view.config),
  deposit: String(view.balanceUnits),
  ceiling: String(view.ceilingUnits),
  credited: String(view.creditedUnits),
  charged: String(view.chargedUnits),
  claimed: String(view.claimedUnits),
  exit_at: timeOrNull(view.exitAt),
})

export const chainSchema = z
  .object({
    object: z.literal('chain'),
    chain_id: z.int(),
    network: z.string().openapi({ description: 'CAIP-2.', example: 'eip155:8453' }),
    token: z.object({ address: z.string(), symbol: z.string(), decimals: z.int() }),
    contracts: z.object({
      channels: z.string(),
      collector: z.string().nullable(),
      payouts: z.string().nullable(),
    }),
    operator: z.string().openapi({ description: 'receiver and receiverAuthorizer of channels.' }),
    rpc_url: z
      .string()
      .nullable()
      .openapi({ description: 'JSON-RPC address of the chain; null: bring your own.' }),
    finality_depth: z.int().openapi({ description: 'Blocks that a deposit waits.' }),
    min_withdraw_delay_seconds: z.int(),
    voucher_step: amount.openapi({ description: 'What to sign at least each time, units.' }),
    fee_bps: z.int().openapi({ description: 'Of what providers earn, hundredths of a percent.' }),
    test_money: z.boolean().openapi({ description: 'True: the token is worth nothing.' }),
  })
  .openapi('Chain')

export const chainJson = (facts: ChainFacts) => ({
  object: 'chain' as const,
  chain_id: facts.chainId,
  network: `eip155:${facts.chainId}`,
  token: { ...facts.token },
  contracts: { channels: facts.channels, collector: facts.collector, payouts: facts.payouts },
  operator: facts.operator,
  rpc_url: facts.rpcUrl,
  finality_depth: facts.finalityDepth,
  min_withdraw_delay_seconds: facts.minWithdrawDelayS,
  voucher_step: String(facts.stepUnits),
  fee_bps: facts.feeBps,
  test_money: facts.testMoney,
})
