/**
 * A lease: the terms on which one node runs one group for one tenant. The document names both parties; the node's
 * signature over it is what commits it, and an epoch tells this owner from any before or after.
 */
import { z } from 'zod'
import { canonicalJson, type Canonical } from '../base/canonical-json.ts'
import { refuse, type Refusal } from '../base/refusal.ts'
import { SECOND, type Millis } from '../base/time.ts'
import { bidSchema, checkUnitPrices, totalRate } from './bid.ts'
import type { Group } from './group.ts'
import { rateText } from './rate-text.ts'

const id = z.string().max(60)
const hash = z.string().regex(/^[0-9a-f]{64}$/)

export const leaseSchema = z.strictObject({
  v: z.literal(1),
  id,
  /** From 1; each new owner has a higher one, and a lower one has lost. */
  epoch: z.int().min(1),
  deployment: id,
  /** The parties: the account that pays, the node that runs it, and the gateway that vouches for the tenant. */
  tenant: id,
  node: id,
  gateway: id,
  /** SHA-256 of the group's canonical JSON. */
  groupHash: hash,
  units: bidSchema.shape.units,
  /** All copies of all units: atto-dollars a second, paid while the node proves that it is alive. */
  rate: rateText,
  noticeS: z.int().min(0),
  issuedAtMs: z.int().min(0),
  /** An acceptance after this is none. */
  acceptByMs: z.int().min(0),
})
export type Lease = z.infer<typeof leaseSchema>

/** The lease as the node signed it: base64url Ed25519 over `LEASE_DOMAIN` + `terms`. */
export const acceptedLeaseSchema = z.strictObject({
  terms: z.string().max(256 * 1024),
  signature: z.string().max(200),
})
export type AcceptedLease = z.infer<typeof acceptedLeaseSchema>

/** What the node signs, before `LEASE_DOMAIN` is put in front. */
export const leaseText = (lease: Lease): string => canonicalJson(lease satisfies Canonical)

/** How long its provider has to keep it after giving notice, by the terms that it signed. */
export function noticeMsOf(terms: string | null): Millis {
  if (terms === null) return 0
  const lease = leaseSchema.safeParse(JSON.parse(terms))
  return lease.success ? lease.data.noticeS * SECOND : 0
}

/** What `groupHash` is the SHA-256 of. */
export const groupText = (group: Group): string => canonicalJson(group satisfies Canonical)

/** Null when the document says what the group asked for, priced as its parts are; for either party before it signs. */
export function checkLease(
  lease: Lease,
  group: Group,
  sha256Hex: (text: string) => string,
): Refusal | null {
  if (lease.groupHash !== sha256Hex(groupText(group)))
    return bad(`Lease ${lease.id} is not for this group.`, 'groupHash')
  const total = totalRate(group, lease.units)
  if (BigInt(lease.rate) !== total)
    return bad(`Lease ${lease.id} says ${lease.rate}, its units come to ${total}.`, 'rate')
  if (group.minNoticeS !== null && lease.noticeS < group.minNoticeS)
    return bad(`Notice of ${lease.noticeS} s is less than ${group.minNoticeS} s.`, 'noticeS')
  return checkUnitPrices(lease.units, group)
}

const bad = (message: string, param: string): Refusal =>
  refuse('invalid_value', message, { param: `lease.${param}` })
