/** What a node whose program prices makes sure of before it signs terms: that they follow a bid of its own. */
import { BID_DOMAIN, bidSchema, checkBid, type Bid } from '../../../core/protocol/bid.ts'
import { gpuKey, gpuName, type Gpu } from '../../../core/protocol/capacity.ts'
import type { Lease } from '../../../core/protocol/lease.ts'
import type { Millis } from '../../../core/base/time.ts'
import { verifySignature } from '../../../io/keys/identity.ts'
import type { Ask, AskRefusal } from './ask-check.ts'

/** Null when this node's own bid, which still stands, asks no more for the same work. */
export function bidProblem(
  { bid: signed, group }: Ask,
  terms: Lease,
  { nodeKey, now }: { readonly nodeKey: string; readonly now: Millis },
): AskRefusal | null {
  if (signed === undefined) return wrong('this node prices by a program: ask it for a bid first')
  if (!verifySignature(nodeKey, BID_DOMAIN, signed.bid, signed.signature))
    return wrong('the bid is not signed by this node')
  const bid = readBid(signed.bid)
  if (bid === null) return wrong('the bid cannot be read')
  const refusal = checkBid(bid, group, now)
  if (refusal) return wrong(refusal.message)
  for (const key of ['node', 'tenant', 'gateway', 'groupHash'] as const)
    if (bid[key] !== terms[key]) return wrong(`the bid is for another ${key} than the terms`)
  for (const [i, { unit, gpu, rate }] of terms.units.entries()) {
    const asked = bid.units[i]
    if (!sameGpu(gpu, asked?.gpu ?? null))
      return wrong(`unit ${unit} is not bid for on ${gpu ? gpuName(gpu) : 'no GPU'}`)
    const least = BigInt(asked?.rate ?? 0)
    if (BigInt(rate) < least)
      return wrong(`unit ${unit}: ${rate} atto-dollars a second < ${least} that this node bid`)
  }
  return null
}

const sameGpu = (one: Gpu | null, other: Gpu | null): boolean =>
  (one && gpuKey(one)) === (other && gpuKey(other))

function readBid(text: string): Bid | null {
  try {
    return bidSchema.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

const wrong = (message: string): AskRefusal => ({ code: 'lease_price', message })
