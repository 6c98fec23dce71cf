/**
 * A replica: one model at one linked node, with what the node offered and what this gateway has seen of it.
 * Mutable on purpose: the hot path touches one of these for every request and every chunk.
 */
import type { TokenPrice } from '../base/money.ts'
import type { Millis } from '../base/time.ts'
import {
  CAPABILITIES,
  priceOf,
  type Capability,
  type Offer,
  type OfferedModel,
} from '../protocol/offer.ts'
import type { Tier } from '../protocol/tier.ts'

export type Cooldown = {
  readonly since: Millis
  readonly until: Millis
  readonly reason: string
  /** Failures in a row; the cooldown grows with them until a success clears it. */
  readonly failures: number
  /** A quarantine: only an attempt that began after it ends it. */
  readonly firm?: boolean
}

/** All replicas of one model together: the measure of a replica's fair share, and whether to look at all. */
export type Pool = {
  running: number
  slots: number
  /** Replicas that are not full. */
  roomy: number
}

export type Replica = {
  readonly node: string
  readonly link: string
  readonly model: string
  /** Place in the offer: heartbeats report in that order. */
  readonly offerIndex: number
  readonly digest: string
  readonly engine: string
  /** The engine without its version: `llama.cpp`. */
  readonly engineFamily: string
  readonly quantization: string | null
  readonly contextTokens: number
  readonly slots: number
  /** A bit for each of CAPABILITIES; see `capabilityMask`. */
  readonly capabilities: number
  readonly price: TokenPrice
  readonly region: string | null
  readonly tier: Tier
  readonly providerName: string | null
  readonly dataCollection: 'deny' | 'allow'

  /** Attempts this gateway sent that have not ended. */
  outstanding: number
  /** Slots taken by others (other gateways, cancelled work), from the last heartbeat or BUSY. */
  othersBusy: number
  /** Moving average of the time to the first token; 0 until measured. */
  firstTokenMs: number
  /** Moving average of the time between tokens; 0 until measured. */
  tokenMs: number
  /** When the last attempt ended: what was measured before fades from then on. */
  idleSince: Millis
  cooldown: Cooldown | null
  draining: boolean

  /** Kept by the replica table. */
  pool: Pool
  position: number
}

export const FIRST_COOLDOWN_MS = 2_000
export const MAX_COOLDOWN_MS = 60_000
/** Weights of a new sample in a moving average: trouble is believed quickly, recovery slowly. */
const RISE = 0.5
const FALL = 0.125

export function replicaFrom(input: {
  link: string
  offer: Pick<Offer, 'node' | 'region' | 'providerName' | 'dataCollection'>
  model: OfferedModel
  offerIndex: number
  tier: Tier
  now: Millis
}): Replica {
  const { link, offer, model, offerIndex, tier, now } = input
  return {
    node: offer.node,
    link,
    model: model.model,
    offerIndex,
    digest: model.digest,
    engine: model.engine,
    engineFamily: engineFamily(model.engine),
    quantization: model.quantization,
    contextTokens: model.contextTokens,
    slots: model.slots,
    capabilities: capabilityMask(model.capabilities),
    price: priceOf(model),
    region: offer.region,
    tier,
    providerName: offer.providerName,
    dataCollection: offer.dataCollection,
    outstanding: 0,
    othersBusy: 0,
    firstTokenMs: 0,
    tokenMs: 0,
    idleSince: now,
    cooldown: null,
    draining: false,
    pool: { running: 0, slots: model.slots, roomy: 1 },
    position: -1,
  }
}

/** `llama.cpp/3.22.1` → `llama.cpp`. */
export const engineFamily = (engine: string): string => engine.split('/', 1)[0] ?? engine

const BIT = new Map(CAPABILITIES.map((capability, index) => [capability, 1 << index]))

export function capabilityMask(capabilities: readonly Capability[]): number {
  let mask = 0
  for (const capability of capabilities) mask |= BIT.get(capability) ?? 0
  return mask
}

export const can = (replica: Replica, capability: Capability): boolean =>
  (replica.capabilities & capabilityMask([capability])) !== 0

/** Slots known to be taken, by us or by others. */
export const busySlots = (replica: Replica): number => replica.outstanding + replica.othersBusy

/** A short queue at the node keeps its slots filled; a longer one would be fairer at the gateway. */
export const capacityOf = (replica: Replica): number =>
  replica.slots + Math.max(1, replica.slots >> 2)

export const isFull = (replica: Replica): boolean => busySlots(replica) >= capacityOf(replica)

/** Whether it may be tried: after a cooldown one attempt at a time, until a success clears it. */
export function isWell(replica: Replica, now: Millis): boolean {
  const { cooldown } = replica
  return cooldown === null || (cooldown.until <= now && replica.outstanding === 0)
}

/** An attempt was sent. */
export function recordDispatch(replica: Replica): void {
  replica.pool.running += 1
  setBusy(replica, replica.outstanding + 1, replica.othersBusy)
}

/** An attempt is over, however it went. Call once for each dispatch. */
export function recordEnd(replica: Replica, now: Millis): void {
  replica.pool.running -= 1
  replica.idleSince = now
  setBusy(replica, replica.outstanding - 1, replica.othersBusy)
}

export function recordFirstToken(replica: Replica, elapsedMs: number): void {
  replica.firstTokenMs = average(replica.firstTokenMs, elapsedMs)
}

/** So many tokens came after so long a pause. */
export function recordTokens(replica: Replica, tokens: number, elapsedMs: number): void {
  if (tokens > 0) replica.tokenMs = average(replica.tokenMs, elapsedMs / tokens)
}

/** The node said what is free: what is missing beyond our own attempts, others hold. */
export function recordFree(replica: Replica, free: number, queued: number): void {
  const { slots, outstanding } = replica
  setBusy(replica, outstanding, Math.max(0, slots - free + queued - outstanding))
}

/**
 * The node had no slot for an attempt: it counts as full until it reports again or another of our attempts ends
 * there. Call it before that attempt's own `recordEnd`.
 */
export function recordBusy(replica: Replica): void {
  const { outstanding, othersBusy } = replica
  setBusy(replica, outstanding, Math.max(othersBusy, capacityOf(replica) - outstanding + 1))
}

/** The one place where load changes, so that the pool's count of roomy replicas is always right. */
function setBusy(replica: Replica, outstanding: number, othersBusy: number): void {
  const before = isFull(replica)
  replica.outstanding = outstanding
  replica.othersBusy = othersBusy
  const after = isFull(replica)
  if (before !== after) replica.pool.roomy += after ? -1 : 1
}

/** An attempt went well: whatever was held against the replica is forgotten, but for a quarantine that it began before. */
export function recordSuccess(replica: Replica, dispatchedAt: Millis): void {
  const { cooldown } = replica
  if (cooldown?.firm && dispatchedAt < cooldown.until) return
  replica.cooldown = null
}

/**
 * The replica failed an attempt (never call it for a request that was itself at fault). Attempts sent before
 * the cooldown began fail of the same trouble and do not prolong it.
 */
export function recordFailure(
  replica: Replica,
  reason: string,
  dispatchedAt: Millis,
  now: Millis,
): void {
  const before = replica.cooldown
  if (before && dispatchedAt <= before.since) return
  if (before?.firm && now < before.until) return
  replica.cooldown = cooldownAfter((before?.failures ?? 0) + 1, reason, now)
}

/** 2 s, 4 s, 8 s … at most 60 s. */
export function cooldownAfter(failures: number, reason: string, now: Millis): Cooldown {
  const lengthMs = Math.min(MAX_COOLDOWN_MS, FIRST_COOLDOWN_MS * 2 ** (failures - 1))
  return { since: now, until: now + lengthMs, reason, failures }
}

/** A peak-sensitive moving average (after Finagle's Peak EWMA); the first sample is the average. */
function average(before: number, sample: number): number {
  if (before === 0) return Math.max(sample, Number.MIN_VALUE)
  return before + (sample > before ? RISE : FALL) * (sample - before)
}
