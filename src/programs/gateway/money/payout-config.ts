/** The settings by which an operator says how providers are paid on chain. */
import { z } from 'zod'

/** Part of the gateway's settings. */
export const payoutConfig = {
  payoutEpochSeconds: z.coerce
    .number()
    .int()
    .min(1)
    .max(2_592_000)
    .default(3_600)
    .describe(
      'How often what nodes have earned becomes a payout root, seconds. It takes longer where the last root can still be challenged: an hour at least.',
    ),
  pushClaims: z
    .boolean()
    .default(false)
    .describe(
      'Claim for providers once a root counts; you pay the gas. Otherwise each claims when it likes.',
    ),
  pushClaimsAboveUsd: z
    .string()
    .default('1')
    .describe('Least that is claimed for a provider, USD: below it gas costs too much.'),
}
