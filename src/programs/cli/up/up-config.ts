/** Settings of `baseload up`. */
import { z } from 'zod'

export const upConfig = z.strictObject({
  home: z
    .string()
    .describe(
      'Folder of the network: database, keys, engines, logs. Removing it removes the money.',
    ),
  port: z
    .number()
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe(
      'Port of the gateway. Without it: the one of the last start, so that addresses in scripts keep working, or a free one.',
    ),
  nodes: z
    .number()
    .int()
    .min(0)
    .max(32)
    .default(3)
    .describe('Node processes on this machine. Each takes a thread and about 100 MB.'),
  slots: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('Requests that one node answers at the same time.'),
  enginesDir: z
    .string()
    .optional()
    .describe(
      'Folder of the inference engine; inside the home when absent. Several homes can share one.',
    ),
  databaseUrl: z
    .string()
    .optional()
    .describe(
      'Your PostgreSQL instead of the embedded one, e.g. postgres://user:password@host:5432/baseload.',
    ),
  chain: z
    .enum(['local', 'none'])
    .default('local')
    .describe(
      '`local`: a chain of its own with test money, so that deposits, payments by the request and payouts can be tried. `none`: the ledger alone.',
    ),
})
export type UpConfig = z.infer<typeof upConfig>
