/** Deployments, leases, bids and events as JSON. */
import { AUCTION_RULES } from '../../../core/market/auction.ts'
import { LEASE_STATES } from '../../../core/protocol/lease-control.ts'
import { z } from '@hono/zod-openapi'
import { formatUsd } from '../../../core/base/money.ts'
import { priceFor, type AttoUsdPerSecond } from '../../../core/base/rate.ts'
import { HTTP_FAILURES, type Expose } from '../../../core/protocol/manifest.ts'
import {
  type BidView,
  type DeploymentEvent,
  type DeploymentView,
  type LeaseView,
  type Screening,
  type ServiceView,
} from '../leases/lease-service.ts'
import { money, moneySchema, time, timeOrNull, timeSchema } from './answers.ts'

const rateSchema = z
  .object({
    atto_usd_per_second: z
      .string()
      .openapi({ description: 'Exact: 1e-18 dollars a second.', example: '11111111111111' }),
    usd_per_hour: z.string().openapi({ example: '0.04' }),
    usd_per_month: z
      .string()
      .openapi({ description: 'A twelfth of 365.25 days.', example: '29.22' }),
  })
  .openapi('Rate')

const rate = (atto: AttoUsdPerSecond) => ({
  atto_usd_per_second: String(atto),
  usd_per_hour: formatUsd(priceFor(atto, 'hour')),
  usd_per_month: formatUsd(priceFor(atto, 'month')),
})

const bidSchema = z
  .object({
    node: z.string(),
    provider: z.string().nullable(),
    region: z.string().nullable(),
    tier: z.string(),
    rate: rateSchema.openapi({ description: 'For the whole group.' }),
    gpu: z.string().nullable().openapi({ description: 'What would run.', example: 'nvidia a100' }),
    cached: z.boolean().openapi({ description: 'The images are there already.' }),
    by: z.enum(['sheet', 'program']).openapi({
      description:
        "What made the price: the provider's standing sheet, or its program for this order.",
    }),
    notice_s: z.int().openapi({ description: 'The provider leaves no sooner after saying so.' }),
  })
  .openapi('Bid')

export const screeningSchema = z
  .object({
    object: z.literal('screening'),
    groups: z.array(
      z.object({
        group: z.string(),
        max_rate: rateSchema.openapi({ description: 'The most that the SDL allows.' }),
        bids: z.array(bidSchema),
        reasons: z.array(z.string()).openapi({ description: 'Why the other nodes cannot.' }),
        relaxations: z.array(z.string()).openapi({ description: 'What would help.' }),
      }),
    ),
    warnings: z.array(z.string()),
  })
  .openapi('Screening')

export const screeningJson = ({ groups, warnings }: Screening) => ({
  object: 'screening' as const,
  groups: groups.map(({ group, maxRate, bids, reasons, relaxations }) => ({
    group,
    max_rate: rate(maxRate),
    bids: bids.map(bidJson),
    reasons: [...reasons],
    relaxations: [...relaxations],
  })),
  warnings: [...warnings],
})

const bidJson = (bid: BidView) => ({
  node: bid.node,
  provider: bid.providerName,
  region: bid.region,
  tier: bid.tier,
  rate: rate(bid.rate),
  gpu: bid.gpu,
  cached: bid.cached,
  by: bid.by,
  notice_s: bid.noticeS,
})

const exposeSchema = z.object({
  port: z.int(),
  external_port: z.int(),
  proto: z.enum(['tcp', 'udp']),
  global: z.boolean(),
  service: z.string().nullable(),
  hosts: z.array(z.string()),
  ip: z.string().nullable(),
  http: z.object({
    max_body_bytes: z.int(),
    read_timeout_ms: z.int(),
    send_timeout_ms: z.int(),
    next_tries: z.int(),
    next_timeout_ms: z.int(),
    next_cases: z.array(z.enum(HTTP_FAILURES)),
  }),
})

const exposeJson = ({ http, ...expose }: Expose) => ({
  port: expose.port,
  external_port: expose.externalPort,
  proto: expose.proto,
  global: expose.global,
  service: expose.service,
  hosts: expose.hosts,
  ip: expose.ip,
  http: {
    max_body_bytes: http.maxBodyBytes,
    read_timeout_ms: http.readTimeoutMs,
    send_timeout_ms: http.sendTimeoutMs,
    next_tries: http.nextTries,
    next_timeout_ms: http.nextTimeoutMs,
    next_cases: http.nextCases,
  },
})

const serviceSchema = z.object({
  name: z.string(),
  image: z.string(),
  count: z.int(),
  urls: z
    .array(z.string())
    .openapi({ description: 'Where it is reached; first the best to show.' }),
  expose: z.array(exposeSchema),
  replicas: z.array(
    z.object({
      replica: z.int(),
      state: z.enum(['created', 'running', 'exited']),
      healthy: z.boolean().nullable(),
      exit_code: z.int().nullable(),
      restarts: z.int(),
    }),
  ),
})

const serviceJson = (service: ServiceView) => ({
  name: service.name,
  image: service.image,
  count: service.count,
  urls: [...service.urls],
  expose: service.expose.map(exposeJson),
  replicas: service.replicas.map(({ replica, state, healthy, exitCode, restarts }) => ({
    replica,
    state,
    healthy,
    exit_code: exitCode,
    restarts,
  })),
})

const leaseSchema = z
  .object({
    object: z.literal('lease'),
    id: z.string(),
    group: z.string(),
    state: z.enum(LEASE_STATES),
    message: z.string().openapi({ description: 'Why it is as it is.' }),
    epoch: z.int().openapi({ description: 'Grows with each new owner.' }),
    node: z.string().nullable(),
    rate: rateSchema,
    started_at: timeSchema.nullable(),
    billed_until: timeSchema.nullable(),
    spent: moneySchema,
    services: z.array(serviceSchema),
    secrets: z.array(z.string()).openapi({
      description: 'Names of what came sealed.',
      example: ['web.DB_PASSWORD', 'web@registry'],
    }),
  })
  .openapi('Lease')

const leaseJson = (lease: LeaseView) => ({
  object: 'lease' as const,
  id: lease.id,
  group: lease.group,
  state: lease.state,
  message: lease.message,
  epoch: lease.epoch,
  node: lease.node,
  rate: rate(lease.rate),
  started_at: timeOrNull(lease.startedAt),
  billed_until: timeOrNull(lease.billedUntil),
  spent: money(lease.spentNanoUsd),
  services: lease.services.map(serviceJson),
  secrets: [...lease.secrets],
})

export const deploymentSchema = z
  .object({
    object: z.literal('deployment'),
    id: z.string(),
    name: z.string(),
    rule: z.enum(AUCTION_RULES),
    created_at: timeSchema,
    closed_at: timeSchema.nullable(),
    close_reason: z.string().nullable(),
    rate: rateSchema.openapi({ description: 'Of all leases that run.' }),
    spent: moneySchema,
    leases: z.array(leaseSchema),
  })
  .openapi('Deployment')

/** With the SDL as it was given: too long for a list. */
export const deploymentDetailSchema = deploymentSchema
  .extend({ sdl: z.string() })
  .openapi('DeploymentDetail')

export function deploymentJson(deployment: DeploymentView) {
  const placed = deployment.leases.filter(({ node, state }) => node !== null && state !== 'closed')
  return {
    object: 'deployment' as const,
    id: deployment.id,
    name: deployment.name,
    rule: deployment.rule,
    created_at: time(deployment.createdAt),
    closed_at: timeOrNull(deployment.closedAt),
    close_reason: deployment.closeReason,
    rate: rate(placed.reduce((sum, lease) => sum + lease.rate, 0n)),
    spent: money(deployment.spentNanoUsd),
    leases: deployment.leases.map(leaseJson),
  }
}

export const deploymentDetailJson = (deployment: DeploymentView) => ({
  ...deploymentJson(deployment),
  sdl: deployment.sdl,
})

export const eventSchema = z
  .object({
    object: z.literal('deployment_event'),
    seq: z.int().openapi({ description: 'Counts from 1 within the deployment.' }),
    at: timeSchema,
    type: z.string().openapi({ example: 'lease.running' }),
    lease: z.string().nullable(),
    service: z.string().nullable(),
    message: z.string(),
  })
  .openapi('DeploymentEvent')

export const eventJson = ({ seq, at, type, lease, service, message }: DeploymentEvent) => ({
  object: 'deployment_event' as const,
  seq,
  at: time(at),
  type,
  lease,
  service,
  message,
})
