/** The settings by which an operator says whether and how money is settled on a chain. */
import { z } from 'zod'

/** Part of the gateway's settings. */
export const settlementConfig = {
  settlement: z
    .enum(['none', 'chain'])
    .default('none')
    .describe(
      'Whether deposits and payouts go over contracts on a chain. `none`: the ledger is all there is, and money comes and goes by hand.',
    ),
  chainRpc: z
    .array(z.url({ protocol: /^https?$/ }))
    .max(9)
    .default([])
    .describe(
      'JSON-RPC address of an Ethereum server. Give three of different operators: what a majority says counts, and one that lies or stands still only makes payments wait. With a single one its word is all there is.',
    ),
  chainPublicRpc: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe(
      'JSON-RPC address that tenants are told. Not one with a key of yours in it. Default: they bring their own.',
    ),
  chainContracts: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'JSON file with the addresses of the contracts: token, channels, collector, leases, payouts, stakes.',
    ),
  chainFinality: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(12)
    .describe(
      'After how many further blocks a deposit or payment counts. Fewer: faster, and a reorganisation may take back what was credited.',
    ),
  chainPollMs: z.coerce
    .number()
    .int()
    .min(20)
    .max(60_000)
    .default(1_000)
    .describe('How often the chain is looked at, milliseconds. RPC services count requests.'),
  chainMaxFeeGwei: z.coerce
    .number()
    .min(0.000_000_001)
    .max(1_000_000)
    .default(50)
    .describe(
      'Most that a transaction may pay for a unit of gas. Above it nothing is sent and settlement waits: a price spike empties no account.',
    ),
  chainKeyFile: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'The operator key: 64 hex digits, or a version 3 keystore. It receives what tenants pay: back it up. Default: chain.key in its home, made at the first start. Gateways over one database need the same.',
    ),
  chainKeyPasswordFile: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('File with the password of that keystore; its last line end is no part of it.'),
  testMoney: z
    .boolean()
    .default(false)
    .describe(
      'Say on every screen that the money is for tests. Always so on a local chain (31337).',
    ),
  minWithdrawDelaySeconds: z.coerce
    .number()
    .int()
    .min(900)
    .max(2_592_000)
    .default(3_600)
    .describe(
      'How long payers must let the gateway claim after they ask to leave, seconds. Shorter than an outage of the gateway, and what was spent is lost.',
    ),
  voucherStepUsd: z
    .string()
    .default('0.10')
    .describe('What tenants are asked to sign at a time, USD: what they trust the gateway with.'),
  claimSeconds: z.coerce
    .number()
    .int()
    .min(10)
    .max(604_800)
    .default(3_600)
    .describe('How often what was spent is claimed on chain, seconds. Each claim costs gas.'),
  claimAboveUsd: z
    .string()
    .default('100')
    .describe('So much unclaimed is claimed without waiting, USD.'),
  feeBps: z.coerce
    .number()
    .int()
    .min(0)
    .max(5_000)
    .default(0)
    .describe(
      'What the network keeps of what providers earn, hundredths of a percent. A change holds from the next payout epoch on: what is signed stays.',
    ),
}
