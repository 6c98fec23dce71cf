/** Deployments as the gateway answers them: what the commands read. Anything more passes through to `--json`. */
import { z } from 'zod'
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { listOf, money, understand } from './answers.ts'

const rate = z.looseObject({ usd_per_hour: z.string(), usd_per_month: z.string() })

const bid = z.looseObject({
  node: z.string(),
  provider: z.string().nullable(),
  region: z.string().nullable(),
  tier: z.string(),
  rate,
  gpu: z.string().nullable(),
  cached: z.boolean(),
  by: z.string().default('sheet'),
})

export const screening = z.looseObject({
  groups: z.array(
    z.looseObject({
      group: z.string(),
      max_rate: rate,
      bids: z.array(bid),
      reasons: z.array(z.string()),
      relaxations: z.array(z.string()),
    }),
  ),
  warnings: z.array(z.string()),
})
export type Screening = z.infer<typeof screening>

const service = z.looseObject({
  name: z.string(),
  image: z.string(),
  count: z.number(),
  urls: z.array(z.string()),
  expose: z.array(
    z.looseObject({ port: z.number(), external_port: z.number(), proto: z.string() }),
  ),
  replicas: z.array(
    z.looseObject({
      replica: z.number(),
      state: z.string(),
      healthy: z.boolean().nullable(),
      exit_code: z.number().nullable(),
      restarts: z.number(),
    }),
  ),
})
export type Service = z.infer<typeof service>

const lease = z.looseObject({
  id: z.string(),
  group: z.string(),
  state: z.string(),
  message: z.string(),
  node: z.string().nullable(),
  rate,
  started_at: z.string().nullable(),
  spent: money,
  services: z.array(service),
  secrets: z.array(z.string()).default([]),
})
export type Lease = z.infer<typeof lease>

export const deployment = z.looseObject({
  id: z.string(),
  name: z.string(),
  rule: z.string(),
  created_at: z.string(),
  closed_at: z.string().nullable(),
  close_reason: z.string().nullable(),
  rate,
  spent: money,
  leases: z.array(lease),
  /** Only where one is asked for. */
  sdl: z.string().optional(),
})
export type Deployment = z.infer<typeof deployment>

export const deploymentEvent = z.looseObject({
  seq: z.number(),
  at: z.string(),
  type: z.string(),
  lease: z.string().nullable(),
  service: z.string().nullable(),
  message: z.string(),
})
export type DeploymentEvent = z.infer<typeof deploymentEvent>

const MAX_LISTED = 1000

export const deploymentPath = (id: string): string => `/v1/deployments/${encodeURIComponent(id)}`

/** By id, or by the name of an open one. */
export async function fetchDeployment(client: GatewayClient, id: string): Promise<Deployment> {
  return understand(deployment, await client.get(deploymentPath(id)))
}

/** Newest first. Throws Failure when there are more than can be listed at once. */
export async function fetchDeployments(
  client: GatewayClient,
  closed: boolean,
): Promise<Deployment[]> {
  const page = listOf(deployment).extend({ has_more: z.boolean() })
  const path = `/v1/deployments?limit=${MAX_LISTED}&closed=${closed}`
  const { data, has_more } = understand(page, await client.get(path))
  if (!has_more) return data
  throw new Failure(EXIT.refused, `there are more than ${MAX_LISTED} deployments`, {
    code: 'too_many',
    next: 'name one; without --closed only the open ones are listed',
  })
}

/** `$0.04/h`. */
export const perHour = ({ usd_per_hour }: z.infer<typeof rate>): string => `$${usd_per_hour}/h`

/** In the order in which a person wants to hear it: what is left to do first. */
export function stateOf(of: Deployment): string {
  if (of.closed_at !== null) return 'closed'
  const states = [...new Set(of.leases.map(({ state }) => state))]
  return states.join(', ') || 'empty'
}

export const urlsOf = (of: Deployment): string[] =>
  of.leases.flatMap(({ services }) => services.flatMap(({ urls }) => urls))
