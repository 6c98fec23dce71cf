/** A bid: for how much one node runs one order, on which GPUs, and until when that stands. Signed by the node. */
import { z } from 'zod'
import { type AttoUsdPerSecond } from '../base/rate.ts'
import { refuse, type Refusal } from '../base/refusal.ts'
import { gpuName, gpuSchema } from './capacity.ts'
import type { Group } from './group.ts'
import { gpuSuits } from './price-sheet.ts'
import { rateText } from './rate-text.ts'

export const BID_DOMAIN = 'baseload bid v1\n'
/** Long enough for a tenant who chooses by hand, short enough that it cannot block a node's capacity for long. */
export const MAX_BID_MS = 5 * 60_000

const id = z.string().max(60)

const unitPriceSchema = z.strictObject({
  /** The group's unit. */
  unit: z.int().min(1),
  /** What each copy runs on, and what is billed, whatever wildcard asked for it. Null without GPUs. */
  gpu: gpuSchema.nullable(),
  /** One copy: atto-dollars a second. */
  rate: rateText,
})
export type UnitPrice = z.infer<typeof unitPriceSchema>

export const bidSchema = z.strictObject({
  v: z.literal(1),
  id,
  order: id,
  node: id,
  /** For whom: a bid to one tenant, or through one gateway, is none to another. */
  tenant: id,
  gateway: id,
  /** SHA-256 of the group's canonical JSON: a price for this work and no other. */
  groupHash: z.string().regex(/^[0-9a-f]{64}$/),
  /** Each unit of the group once, in its order. */
  units: z.array(unitPriceSchema).min(1).max(100),
  /** What the node promises before it closes. */
  noticeS: z.int().min(0),
  issuedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
})
export type Bid = z.infer<typeof bidSchema>

/** The exact bytes that were signed, and base64url Ed25519 over `BID_DOMAIN` + those bytes. */
export const signedBidSchema = z.strictObject({
  bid: z.string().max(64 * 1024),
  signature: z.string().max(200),
})
export type SignedBid = z.infer<typeof signedBidSchema>

/** What all copies of all units cost. */
export function totalRate(group: Group, units: readonly UnitPrice[]): AttoUsdPerSecond {
  let total = 0n
  for (const [i, unit] of group.units.entries())
    total += BigInt(units[i]?.rate ?? '0') * BigInt(unit.count)
  return total
}

/** Null when the bid answers the order; else why it does not, with both numbers. */
export function checkBid(bid: Bid, group: Group, now: number): Refusal | null {
  if (bid.expiresAtMs <= now)
    return bad(`Bid ${bid.id} ended ${now - bid.expiresAtMs} ms ago.`, 'expiresAtMs')
  if (bid.expiresAtMs - bid.issuedAtMs > MAX_BID_MS)
    return bad(`Bid ${bid.id} would stand for more than ${MAX_BID_MS} ms.`, 'expiresAtMs')
  if (group.minNoticeS !== null && bid.noticeS < group.minNoticeS)
    return bad(`Notice of ${bid.noticeS} s is less than ${group.minNoticeS} s.`, 'noticeS')
  return checkUnitPrices(bid.units, group)
}

/** Null when each unit is priced once, on a GPU it asked for, and under its ceiling. */
export function checkUnitPrices(units: readonly UnitPrice[], group: Group): Refusal | null {
  if (units.length !== group.units.length)
    return bad(`${units.length} units are priced, the order has ${group.units.length}.`, 'units')
  for (const [i, { id: unit, resources, maxRate }] of group.units.entries()) {
    const priced = units[i]
    const at = `units[${i}]`
    if (priced?.unit !== unit) return bad(`Unit ${unit} is not priced in its place.`, at)
    if (!gpuSuits(resources, priced.gpu))
      return bad(`Unit ${unit} cannot run on ${priced.gpu ? gpuName(priced.gpu) : 'no GPU'}.`, at)
    if (BigInt(priced.rate) > BigInt(maxRate))
      return bad(`Unit ${unit} costs ${priced.rate} atto-dollars a second, over ${maxRate}.`, at)
  }
  return null
}

const bad = (message: string, param: string): Refusal =>
  refuse('invalid_value', message, { param: `bid.${param}` })
