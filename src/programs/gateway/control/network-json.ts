/** Nodes as anyone may see them: what they offer and how they do, never where they are. */
import { z } from '@hono/zod-openapi'
import { formatUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import { CAPABILITIES, priceOf, signedOfferSchema } from '../../../core/protocol/offer.ts'
import { TIERS } from '../../../core/protocol/tier.ts'
import type { NodeRecord } from '../../../io/store/store.ts'
import { time, timeSchema } from './answers.ts'
import type { LinkedNode, LinkedReplica } from './control-parts.ts'
import { withoutAddresses } from './without-addresses.ts'

const price = z.string().openapi({ description: 'Dollars per million tokens.', example: '0.05' })

const replicaSchema = z.object({
  model: z.string(),
  digest: z.string(),
  engine: z.string(),
  quantization: z.string().nullable(),
  context_tokens: z.int(),
  capabilities: z.array(z.enum(CAPABILITIES)),
  input_usd_per_mtok: price,
  output_usd_per_mtok: price,
  slots: z.int(),
  free_slots: z.int(),
  outstanding: z.int(),
  tokens_per_second: z.number().nullable(),
  first_token_ms: z.number().nullable(),
  cooldown: z.object({ until: timeSchema, reason: z.string() }).nullable(),
})

export const nodeSchema = z
  .object({
    object: z.literal('node'),
    id: z.string(),
    node_key: z.string().openapi({ description: 'Ed25519, base64url.' }),
    tier: z.enum(TIERS),
    region: z.string().nullable(),
    provider: z.string().nullable(),
    software: z.string(),
    data_collection: z.enum(['deny', 'allow']),
    linked: z.boolean(),
    linked_since: timeSchema.nullable(),
    first_seen: timeSchema.nullable(),
    last_seen: timeSchema.nullable(),
    uptime: z.number().nullable().openapi({ description: 'Share of the time since first seen.' }),
    draining: z.boolean(),
    models: z.array(replicaSchema),
  })
  .openapi('Node')

/** With the node's own signed word, so that anyone can check what was offered. */
export const nodeDetailSchema = nodeSchema
  .extend({ signed_offer: signedOfferSchema.nullable() })
  .openapi('NodeDetail')

export function nodeJson({ link, record, replicas }: LinkedNode, now: Millis) {
  const { offer } = link
  return {
    object: 'node' as const,
    id: link.node,
    node_key: link.nodeKey,
    tier: record?.tier ?? ('community' as const),
    region: offer.region,
    provider: offer.providerName,
    software: offer.software,
    data_collection: offer.dataCollection,
    linked: true,
    linked_since: time(link.linkedAt),
    first_seen: record && time(record.firstSeenAt),
    last_seen: time(link.lastHeardAt),
    uptime: record && uptimeOf(record, now),
    draining: link.draining,
    models: replicas.map((replica) => replicaJson(replica, now)),
  }
}

/** A node that was here once and is not linked now. */
export const absentNodeJson = (record: NodeRecord, now: Millis) => ({
  object: 'node' as const,
  id: record.node,
  node_key: record.nodeKey,
  tier: record.tier,
  region: null,
  provider: null,
  software: 'unknown',
  data_collection: 'allow' as const,
  linked: false,
  linked_since: null,
  first_seen: time(record.firstSeenAt),
  last_seen: time(record.lastSeenAt),
  uptime: uptimeOf(record, now),
  draining: false,
  models: [],
  signed_offer: null,
})

function replicaJson(replica: LinkedReplica, now: Millis) {
  const { model, cooldown } = replica
  const { inputNanoUsdPerMTok, outputNanoUsdPerMTok } = priceOf(model)
  return {
    model: model.model,
    digest: model.digest,
    engine: model.engine,
    quantization: model.quantization,
    context_tokens: model.contextTokens,
    capabilities: model.capabilities,
    input_usd_per_mtok: formatUsd(inputNanoUsdPerMTok),
    output_usd_per_mtok: formatUsd(outputNanoUsdPerMTok),
    slots: model.slots,
    free_slots: replica.free,
    outstanding: replica.outstanding,
    tokens_per_second: rounded(replica.tokensPerSecond),
    first_token_ms: rounded(replica.firstTokenMs),
    cooldown:
      cooldown === null || cooldown.untilMs <= now
        ? null
        : { until: time(cooldown.untilMs), reason: withoutAddresses(cooldown.reason) },
  }
}

function uptimeOf(record: NodeRecord, now: Millis): number {
  const known = (now - record.firstSeenAt) / 1000
  const share = known <= 0 ? 1 : Math.min(1, record.linkedSeconds / known)
  return Math.round(share * 10_000) / 10_000
}

const rounded = (value: number | null): number | null =>
  value === null ? null : Math.round(value * 10) / 10
