/**
 * What a gateway and a node say to each other about leases, in LEASE and LEASE_STATE frames; docs/protocol.md.
 * The gateway's book says who owns a lease, by epoch; the node says what it has room for and what runs.
 */
import { z } from 'zod'
import { signedBidSchema } from './bid.ts'
import { groupSchema } from './group.ts'
import { kinProofSchema, MAX_KIN } from './kin.ts'
import { manifestSchema } from './manifest.ts'
import { sealedSecretsSchema } from './secrets.ts'

const id = z.string().max(60)
const ref = { lease: id, epoch: z.int().min(1) }
/** Leases of one gateway at one node: their list fits one control frame. */
export const MAX_LEASES_PER_NODE = 1000

/** Akash's limit for pricing programs: no gateway waits longer. */
export const MAX_BID_WINDOW_MS = 10_000

export const leaseCommandSchema = z.discriminatedUnion('kind', [
  /** Has the node room on these terms? It answers `accepted` or `refused`, and keeps the room for `MAX_ASK_MS`. */
  z.object({
    kind: z.literal('ask'),
    ...ref,
    group: groupSchema,
    /** Canonical JSON of the lease document that the node signs when it accepts. */
    terms: z.string().max(256 * 1024),
    /** The node's own bid that the terms follow, where it prices by a program. */
    bid: signedBidSchema.exactOptional(),
  }),
  /** Make it run so, whatever ran before. The manifest comes again with each change, and its secrets sealed. */
  z.object({
    kind: z.literal('run'),
    ...ref,
    group: groupSchema,
    manifest: manifestSchema,
    secrets: sealedSecretsSchema.nullable().default(null),
  }),
  z.object({
    kind: z.literal('stop'),
    ...ref,
    graceS: z.int().min(0).max(3600),
    /** For 24 h, or until it is removed by another `stop`. */
    keepVolumes: z.boolean(),
    reason: z.string().max(500),
  }),
  /** After each link: all that this gateway's book gives to this node. What else runs for it is stale, and stops. */
  z.object({
    kind: z.literal('keep'),
    leases: z.array(z.object(ref)).max(MAX_LEASES_PER_NODE),
  }),
  /** What does its provider's program ask for this? Only to nodes whose offer has no prices; `bid` or `no_bid` answers. */
  z.object({
    kind: z.literal('bid'),
    order: id,
    tenant: id,
    group: groupSchema,
    /** An answer after this is late. */
    withinMs: z.int().min(1).max(MAX_BID_WINDOW_MS),
  }),
  /** Gateways whose leases this one may speak about, too. */
  z.object({ kind: z.literal('kin'), proofs: z.array(kinProofSchema).max(MAX_KIN) }),
])
export type LeaseCommand = z.infer<typeof leaseCommandSchema>
export type BidRequest = Extract<LeaseCommand, { kind: 'bid' }>
/** About one lease, or all that a gateway has here. */
export type LeaseOrder = Exclude<LeaseCommand, BidRequest>

/** An accepted lease that nobody starts within so long gives its room back. */
export const MAX_ASK_MS = 60_000

/** Where a lease stands in its life, as its gateway's book has it: DESIGN's states, in order. */
export const LEASE_STATES = [
  'ordered',
  'bid',
  'accepted',
  'starting',
  'running',
  'degraded',
  'draining',
  'closed',
] as const
export type LeaseState = (typeof LEASE_STATES)[number]

/** What the containers of a lease are doing, as the node sees it. */
export const LEASE_PHASES = ['pulling', 'starting', 'running', 'degraded', 'failed'] as const
export type LeasePhase = (typeof LEASE_PHASES)[number]

const replicaSchema = z.object({
  service: z.string().max(300),
  replica: z.int().min(0),
  state: z.enum(['created', 'running', 'exited']),
  healthy: z.boolean().nullable(),
  exitCode: z.int().nullable(),
  restarts: z.int().min(0),
})
export type ReplicaReport = z.infer<typeof replicaSchema>

export const leaseReportSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('accepted'),
    ...ref,
    /** base64url Ed25519 over `LEASE_DOMAIN` + the terms. */
    signature: z.string().max(200),
  }),
  z.object({
    kind: z.literal('refused'),
    ...ref,
    code: z.string().max(60),
    message: z.string().max(2000),
  }),
  z.object({
    kind: z.literal('status'),
    ...ref,
    phase: z.enum(LEASE_PHASES),
    /** In words: what is pulled, why it failed. */
    message: z.string().max(2000),
    replicas: z.array(replicaSchema).max(1000),
  }),
  /** Something the tenant should read: pulled, started, exited with 1, out of memory, over its disk. */
  z.object({
    kind: z.literal('event'),
    ...ref,
    atMs: z.int().min(0),
    type: z.string().max(60),
    service: z.string().max(300).nullable(),
    message: z.string().max(2000),
  }),
  z.object({ kind: z.literal('stopped'), ...ref, reason: z.string().max(500) }),
  z.object({ kind: z.literal('bid'), order: id, ...signedBidSchema.shape }),
  z.object({
    kind: z.literal('no_bid'),
    order: id,
    code: z.string().max(60),
    message: z.string().max(2000),
  }),
  /** Its provider wants out: it runs on for the notice that the node signed, and should move before. */
  z.object({ kind: z.literal('leaving'), ...ref, reason: z.string().max(500) }),
])
export type LeaseReport = z.infer<typeof leaseReportSchema>
/** An answer to a `BidRequest`. */
export type BidReport = Extract<LeaseReport, { kind: 'bid' | 'no_bid' }>
/** What is said of one lease. */
export type LeaseWord = Exclude<LeaseReport, BidReport>

export const LEASE_DOMAIN = 'baseload lease v1\n'
