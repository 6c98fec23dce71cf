/** The gateway's settings. The schema is the manual: each field says its unit, its default, and the accident it prevents. */
import { z } from 'zod'

const listPrice = z.strictObject({
  model: z.string().describe('The model id here that this list price is compared with.'),
  provider: z.string().describe('Whose price list, e.g. "Amazon Bedrock".'),
  product: z.string().describe('What they sell under that price, by their name.'),
  date: z.string().describe('When the list was read, YYYY-MM-DD.'),
  tier: z.string().describe('Region and purchase tier, e.g. "us-east-1, on-demand".'),
  inputUsdPerMTok: z.string(),
  outputUsdPerMTok: z.string(),
})
export type ListPriceSetting = z.infer<typeof listPrice>

/**
 * The model that ships is a toy beside anything a cloud sells, so it is set beside the cheapest text model of a
 * big cloud's list and the bill says so. Source: a dated copy of aws.amazon.com/bedrock/pricing.
 */
const BARD_BESIDE_NOVA = {
  model: 'bard-3m',
  provider: 'Amazon Bedrock',
  product: 'Nova Micro, the cheapest text model listed (bard-3m is far smaller)',
  date: '2025-07-20',
  tier: 'on-demand',
  inputUsdPerMTok: '0.035',
  outputUsdPerMTok: '0.14',
}

export const gatewayConfig = z.strictObject({
  home: z
    .string()
    .describe(
      'Folder of the gateway: its key (0600) and secret. Losing it makes a new gateway of it, and nodes keep their unacknowledged receipts for the old one.',
    ),
  databaseUrl: z
    .string()
    .describe(
      'PostgreSQL, e.g. postgres://user:password@host:5432/baseload. Money is only ever as durable as this database: leave fsync and synchronous_commit on.',
    ),
  host: z
    .string()
    .default('127.0.0.1')
    .describe(
      'Address to listen on. The default is loopback, so that a laptop never opens a port by accident; use 0.0.0.0 behind a TLS proxy.',
    ),
  port: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(0)
    .describe('TCP port; 0 takes a free one.'),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe(
      'How tenants reach this gateway, e.g. https://gateway.example: the scheme and port of the addresses they are shown. Default: the address it listens on.',
    ),
  nodeAddresses: z
    .array(z.string().regex(/^[a-z0-9.[\]:-]{1,300}$/i))
    .max(64)
    .default([])
    .describe(
      "Under which addresses nodes dial this gateway besides publicUrl, `host` or `host:port`. Once it or publicUrl is set, nodes that dialled another are refused: a rival's machine between could otherwise pass this gateway's proof on and speak in its name.",
    ),
  leaseDomain: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)
    .default('localhost')
    .describe(
      'Leases are served at <service>.<lease>.<this domain>; a wildcard DNS record leads it here. The default works on this machine without any.',
    ),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('JSON logs; never prompts, answers or keys.'),
  logFile: z
    .string()
    .nullable()
    .default(null)
    .describe('File for the JSON logs; standard error when absent.'),
  logRequests: z
    .enum(['off', 'json', 'pretty', 'both'])
    .default('json')
    .describe(
      'What is logged of each request: `json` a line in the log, `pretty` a line for people on standard output. `off` saves a twentieth of what a request costs; metrics count it all the same.',
    ),
  maxConnections: z.coerce
    .number()
    .int()
    .min(16)
    .max(1_000_000)
    .default(8_192)
    .describe(
      'Open HTTP connections. Beyond it new ones are refused, so that file descriptors never run out under the nodes.',
    ),
  queueSize: z.coerce
    .number()
    .int()
    .min(0)
    .max(100_000)
    .default(1_000)
    .describe('Requests that may wait for a free node, over all tenants; further ones get 429.'),
  queuePerTenant: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(100)
    .describe('Requests of one tenant that may wait: one tenant cannot fill the queue.'),
  queueTimeoutMs: z.coerce
    .number()
    .int()
    .min(0)
    .max(600_000)
    .default(30_000)
    .describe('Longest wait for a free node, milliseconds; then 429 with retry-after.'),
  vacancyTimeoutMs: z.coerce
    .number()
    .int()
    .min(0)
    .max(60_000)
    .default(5_000)
    .describe(
      'How long a new request waits when the last replica of its model has just vanished, milliseconds; then 503 with retry-after. A node that is started again needs 2 to 4 s.',
    ),
  resumeTimeoutMs: z.coerce
    .number()
    .int()
    .min(0)
    .max(600_000)
    .default(20_000)
    .describe(
      'How long a running answer waits for another replica when its node has died, milliseconds.',
    ),
  trancheUsd: z
    .string()
    .default('0.10')
    .describe(
      'Credit taken from the ledger at a time, USD: what a gateway that dies can leave on hold, and how much it can serve while the database is away.',
    ),
  trancheSeconds: z.coerce
    .number()
    .int()
    .min(5)
    .max(3_600)
    .default(60)
    .describe("Life of such a hold; a dead gateway's holds return after it."),
  listPrices: z
    .array(listPrice)
    .default([BARD_BESIDE_NOVA])
    .describe(
      'Cloud list prices that bills are compared with. Only named, dated prices: a saving that nobody can check is advertising.',
    ),
})

export type GatewayConfig = z.infer<typeof gatewayConfig>
