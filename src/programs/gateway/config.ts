/** The gateway's settings. The schema is the manual: each field says its unit, its default, and the accident it prevents. */
import { z } from 'zod'
import { x402Settings } from './x402/x402-settings.ts'
import { MAX_BID_WINDOW_MS } from '../../core/protocol/lease-control.ts'
import { payoutConfig } from './money/payout-config.ts'
import { settlementConfig } from './money/settlement-config.ts'

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
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,40}$/)
    .nullable()
    .default(null)
    .describe(
      'Where this gateway is, e.g. eu. Nodes that are linked to a gateway of the region learn of it by its publicUrl, and link to a few of them. Default: one region for all gateways without any.',
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
  snapshots: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Where snapshots of volumes are kept: a folder, from / on, or s3://bucket/prefix. Default: the folder snapshots/ of its home, which is lost with this machine and which no other gateway can read.',
    ),
  snapshotGibPerTenant: z.coerce
    .number()
    .min(0)
    .max(1_000_000)
    .default(100)
    .describe(
      'What all snapshots of one account may take together, GiB; then no more are taken. One tenant cannot fill the store.',
    ),
  s3Endpoint: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe(
      "The S3 service of s3://…, e.g. https://storage.example:9000. Default: Amazon's of the region.",
    ),
  s3Region: z
    .string()
    .regex(/^[a-z0-9-]{1,40}$/)
    .default('us-east-1')
    .describe(
      'Its region, as requests are signed for it. Many services other than Amazon take any.',
    ),
  s3PathStyle: z
    .boolean()
    .nullable()
    .default(null)
    .describe(
      'Whether the bucket is in the path (true) or in the host name (false) of requests. Default: in the path, but with Amazon.',
    ),
  s3AccessKeyId: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Whose the bucket is. There is no flag for it, nor for the two below.'),
  s3SecretAccessKey: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('The secret of that key; signs each request and is sent with none.'),
  s3SessionToken: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Of temporary keys. They are read once, at the start: renew them with a restart.'),
  tlsPort: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .nullable()
    .default(null)
    .describe(
      'TCP port for HTTPS and WebSockets over TLS, beside the plain one; 0 takes a free one. Default: none. It needs certificates: tlsCert and tlsKey, or acme. Set publicUrl to the https address, too.',
    ),
  tlsCert: z
    .array(z.string())
    .max(64)
    .default([])
    .describe(
      'PEM file of a certificate and what links it to a root. Each is used for the hosts that it names, the first for all others. Files are read again when they change.',
    ),
  tlsKey: z
    .array(z.string())
    .max(64)
    .default([])
    .describe("PEM file of a certificate's private key: as many as tlsCert, in the same order."),
  tlsRedirect: z
    .boolean()
    .default(false)
    .describe(
      'Send whoever asks the plain port by HTTP to HTTPS (308). Not by default: nodes, probes and clients with a plain URL would lose their keys on the way.',
    ),
  acme: z
    .boolean()
    .default(false)
    .describe(
      "Get certificates from an authority by ACME: for publicUrl's host, for the hosts of leases, and for names in `accept` that lead here. The authority asks at port 80 of the name, which must reach the plain port.",
    ),
  acmeAgree: z
    .boolean()
    .default(false)
    .describe(
      "You agree to the authority's terms of service. Without it acme does not start, so that nobody agrees unknowingly.",
    ),
  acmeContact: z
    .array(z.email())
    .max(8)
    .default([])
    .describe('E-mail address that the authority may write to, e.g. when it revokes certificates.'),
  acmeDirectory: z
    .url({ protocol: /^https$/ })
    .default('https://acme-v02.api.letsencrypt.org/directory')
    .describe("The authority's ACME directory. Try with its staging one first: limits are tight."),
  acmeCa: z
    .string()
    .nullable()
    .default(null)
    .describe("PEM file of roots for the directory's own TLS, for an authority of your own."),
  acmePerHour: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(20)
    .describe(
      "New names that certificates are ordered for within an hour. Let's Encrypt gives 50 a week for a domain: ask it for more before many leases are visited by HTTPS.",
    ),
  acmePerTenantPerHour: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(5)
    .describe('The same for one tenant: nobody uses up what others need.'),
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
  bidWindowMs: z.coerce
    .number()
    .int()
    .min(10)
    .max(MAX_BID_WINDOW_MS)
    .default(1_000)
    .describe(
      "How long an auction waits for providers' pricing programs, milliseconds; a bid after it is none. Where every node has a price sheet nothing waits.",
    ),
  ...settlementConfig,
  ...payoutConfig,
  ...x402Settings,
  listPrices: z
    .array(listPrice)
    .default([BARD_BESIDE_NOVA])
    .describe(
      'Cloud list prices that bills are compared with. Only named, dated prices: a saving that nobody can check is advertising.',
    ),
})

export type GatewayConfig = z.infer<typeof gatewayConfig>
