/** What a node makes sure of before it signs the terms of a lease. */
import { gpuName, type Gpu } from '../../../core/protocol/capacity.ts'
import type { LeaseCommand } from '../../../core/protocol/lease-control.ts'
import { MAX_CLOCK_SKEW_MS } from '../../../core/protocol/link.ts'
import { checkLease, leaseSchema, leaseText, type Lease } from '../../../core/protocol/lease.ts'
import { priceGroup, type Prices } from '../../../core/protocol/price-sheet.ts'
import type { Millis } from '../../../core/base/time.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { bidProblem } from './bid-check.ts'

export type Ask = Extract<LeaseCommand, { kind: 'ask' }>
/** Goes out as a `refused` report. */
export type AskRefusal = { readonly code: LeaseRefusalCode; readonly message: string }

export type LeaseRefusalCode =
  | 'lease_unsupported' // no containers here
  | 'lease_invalid' // not a lease that could run on any node like this one
  | 'lease_terms' // the document does not say what was asked, or is not for this node
  | 'lease_price' // below what the node's price sheet or its bid asks
  | 'lease_no_room' // with the numbers of what is short
  | 'lease_epoch_stale' // the node knows a later epoch of it
  | 'lease_taken' // another gateway has a lease of this name here
  | 'lease_limit' // as many leases as a node takes
  | 'node_draining'

export type Seller = {
  readonly node: string
  /** For what its bids are signed with. */
  readonly nodeKey: string
  /** Null: a program prices each order, and the terms follow a bid of this node's. */
  readonly prices: Prices | null
  /** The longest notice that it promises. */
  readonly noticeS: number
}

/** Secrets are sealed for them. */
export type Owner = Pick<Lease, 'tenant' | 'deployment'>

/** Names that every runtime and file system takes. */
const LEASE_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,59}$/

/** The GPUs that the terms name, in the order of the group's units, and whose lease it is; or why the node does not sign. */
export function checkAsk(input: {
  readonly ask: Ask
  readonly gateway: string
  readonly seller: Seller
  readonly now: Millis
}): { readonly gpus: readonly (Gpu | null)[]; readonly owner: Owner } | AskRefusal {
  const { ask, gateway, seller, now } = input
  if (!LEASE_NAME.test(ask.lease))
    return { code: 'lease_invalid', message: `'${ask.lease}' is no name for a lease` }
  const terms = readTerms(ask.terms)
  if (terms === null) return { code: 'lease_terms', message: 'the terms are not a lease document' }
  const wrong = mismatchOf(terms, ask, gateway, seller.node) ?? lateness(terms, now)
  if (wrong !== null) return { code: 'lease_terms', message: wrong }
  const refusal = checkLease(terms, ask.group, sha256Hex)
  if (refusal !== null) return { code: 'lease_terms', message: refusal.message }
  if (terms.noticeS > seller.noticeS)
    return {
      code: 'lease_terms',
      message: `a notice of ${terms.noticeS} s is over the ${seller.noticeS} s that this node promises`,
    }
  const gpus = terms.units.map(({ gpu }) => gpu)
  const price =
    seller.prices === null
      ? bidProblem(ask, terms, { nodeKey: seller.nodeKey, now })
      : tooCheap(terms, ask, seller.prices)
  const { tenant, deployment } = terms
  return price ?? { gpus, owner: { tenant, deployment } }
}

/** Null unless it is the document's canonical text: what is signed must be what was read. */
function readTerms(text: string): Lease | null {
  try {
    const terms = leaseSchema.safeParse(JSON.parse(text))
    return terms.success && leaseText(terms.data) === text ? terms.data : null
  } catch {
    return null
  }
}

function mismatchOf(terms: Lease, ask: Ask, gateway: string, node: string): string | null {
  const pairs: [string, string | number, string | number][] = [
    ['lease', terms.id, ask.lease],
    ['epoch', terms.epoch, ask.epoch],
    ['node', terms.node, node],
    ['gateway', terms.gateway, gateway],
  ]
  const wrong = pairs.find(([, said, real]) => said !== real)
  return wrong ? `the terms name ${wrong[0]} ${wrong[1]}, not ${wrong[2]}` : null
}

/** The gateway is the judge of that; what is late by any clock needs no signature. */
function lateness({ acceptByMs }: Lease, now: Millis): string | null {
  const lateMs = now - acceptByMs
  return lateMs > MAX_CLOCK_SKEW_MS ? `the terms had to be accepted ${lateMs} ms ago` : null
}

function tooCheap(terms: Lease, { group }: Ask, prices: Prices): AskRefusal | null {
  const gpus = terms.units.map(({ gpu }) => gpu)
  const price = priceGroup(prices, group, gpus)
  if ('unpriced' in price)
    return { code: 'lease_price', message: `${price.unpriced} is not for sale here` }
  for (const [i, { unit, rate, gpu }] of terms.units.entries()) {
    const asked = price.unitRates[i] ?? 0n
    if (BigInt(rate) >= asked) continue
    const what = gpu === null ? `unit ${unit}` : `unit ${unit} on ${gpuName(gpu)}`
    return {
      code: 'lease_price',
      message: `${what}: ${rate} atto-dollars a second < ${asked} that this node asks`,
    }
  }
  return null
}
