/** The gateway's settings of x402, a part of its config. */
import { z } from 'zod'

export const x402Settings = {
  x402: z
    .boolean()
    .default(true)
    .describe(
      'Callers without a key may pay with the request itself (HTTP 402, x402). Counts only where the gateway settles on a chain; without it they get 401.',
    ),
  x402MinDepositUsd: z
    .string()
    .default('0.05')
    .describe(
      'The least that a deposit by x402 may bring, USD: the gateway pays its gas, so that a stranger cannot use that up with dust.',
    ),
  x402DepositFinality: z
    .enum(['mined', 'final'])
    .default('mined')
    .describe(
      "Whether a request is served once its deposit is `mined`, within x402MaxUnfinalUsd, or only when it is `final`. What was served on a deposit that the chain then drops is the operator's loss.",
    ),
  x402MaxUnfinalUsd: z
    .string()
    .default('1.00')
    .describe(
      'What may be served at a time, over all callers, on deposits that are not final yet, USD: the most that a reorganisation can cost.',
    ),
}
