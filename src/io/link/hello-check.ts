/** What a gateway checks before it believes a node: version, key, clock, signature, address, offer. */
import {
  HELLO_DOMAIN,
  helloText,
  LINK_VERSIONS,
  MAX_CLOCK_SKEW_MS,
  type Challenge,
  type Hello,
} from '../../core/protocol/link.ts'
import {
  OFFER_DOMAIN,
  offerSchema,
  type Offer,
  type OfferedModel,
  type SignedOffer,
} from '../../core/protocol/offer.ts'
import {
  PAYOUT_DOMAIN,
  payoutStatementSchema,
  type PayoutStatement,
  type SignedPayout,
} from '../../core/protocol/payout.ts'
import type { Millis } from '../../core/base/time.ts'
import { idOfKey, verifySignature } from '../keys/identity.ts'
import { isSealingKeyOf } from '../keys/secret-envelope.ts'
import type { LinkCode } from './close-reason.ts'
import { readJson } from './json-payload.ts'

export type HelloProblem = { readonly problem: LinkCode; readonly message: string }

/**
 * Null when this HELLO answers this challenge. `heardAt` is the gateway's clock when the HELLO came; `isOwn` tells
 * whether an address leads to this gateway.
 */
export function checkHello(
  hello: Hello,
  challenge: Pick<Challenge, 'gateway' | 'nonce'>,
  heardAt: Millis,
  isOwn: (address: string) => boolean,
): HelloProblem | null {
  const { node, nodeKey, version, nowMs, address } = hello
  if (!LINK_VERSIONS.some((known) => known === version)) {
    return {
      problem: 'link_version_unsupported',
      message: `the node speaks link version ${version}, this gateway ${LINK_VERSIONS.join(', ')}; update the older one`,
    }
  }
  const derived = idOfKey('node', nodeKey)
  if (derived !== node) {
    return {
      problem: 'link_key_mismatch',
      message: `the key belongs to ${derived}, the node calls itself ${node}; give the node its own key file back`,
    }
  }
  const skewMs = Math.abs(nowMs - heardAt)
  if (skewMs > MAX_CLOCK_SKEW_MS) {
    return {
      problem: 'link_clock_skew',
      message: `the node's clock says ${timeText(nowMs)}, the gateway's ${timeText(heardAt)}: ${skewMs} ms apart, limit ${MAX_CLOCK_SKEW_MS}; set the node's clock (NTP)`,
    }
  }
  if (!verifySignature(nodeKey, HELLO_DOMAIN, helloText(challenge, hello), hello.signature))
    return {
      problem: 'link_bad_signature',
      message: `the HELLO is not signed by the key of ${node} for this challenge`,
    }
  if (!isOwn(address))
    return {
      problem: 'link_wrong_address',
      message: `the node dialled ${address}, which is no address of ${challenge.gateway}: dial the gateway's public URL, or have its operator add this address to nodeAddresses`,
    }
  return null
}

/** The offer, when this node signed it, it is well formed, and it is not older than `lastSequence`. */
export function checkOffer(
  signed: SignedOffer,
  node: string,
  nodeKey: string,
  lastSequence: number,
): Offer | HelloProblem {
  if (!verifySignature(nodeKey, OFFER_DOMAIN, signed.offer, signed.signature))
    return badOffer(`the offer is not signed by the key of ${node}`)
  const offer = readJson(offerSchema, Buffer.from(signed.offer))
  if (offer instanceof Error) return badOffer(`the offer cannot be read: ${offer.message}`)
  if (offer.node !== node) return badOffer(`the offer is of ${offer.node}, the link of ${node}`)
  if (offer.sequence < lastSequence) {
    return badOffer(
      `offer sequence ${offer.sequence} is below ${lastSequence}, the last one of ${node}; sign a higher one`,
    )
  }
  const sealing = offer.leases?.sealing ?? null
  if (sealing !== null && !isSealingKeyOf(node, nodeKey, sealing))
    return badOffer(`the sealing key is not signed by the key of ${node}`)
  return { ...offer, models: offer.models.map(sharedModel) }
}

/** Null when the HELLO names no payout address, or the node itself signed it. */
export function checkPayout({ node, nodeKey, payout }: Hello): HelloProblem | null {
  if (payout === undefined) return null
  const statement = readPayout(payout, node, nodeKey)
  return typeof statement === 'string' ? { problem: 'link_bad_payout', message: statement } : null
}

/** The statement, when this node signed it and it is well formed; else what is wrong with it. */
export function readPayout(
  signed: SignedPayout,
  node: string,
  nodeKey: string,
): PayoutStatement | string {
  if (!verifySignature(nodeKey, PAYOUT_DOMAIN, signed.statement, signed.signature))
    return `the payout address is not signed by the key of ${node}`
  const statement = readJson(payoutStatementSchema, Buffer.from(signed.statement))
  if (statement instanceof Error) return `the payout address cannot be read: ${statement.message}`
  if (statement.node !== node)
    return `the payout address is of ${statement.node}, the link of ${node}`
  return statement
}

/** As many different models and prices as one network may well have; beyond it they are kept one by one. */
const MAX_SHARED_MODELS = 4096
const sharedModels = new Map<string, OfferedModel>()

/** Machines of one fleet offer the same models at the same prices: a kilobyte each, and one copy serves all. */
function sharedModel(model: OfferedModel): OfferedModel {
  const text = JSON.stringify(model)
  const known = sharedModels.get(text)
  if (known) return known
  if (sharedModels.size >= MAX_SHARED_MODELS) sharedModels.clear()
  sharedModels.set(text, model)
  return model
}

const badOffer = (message: string): HelloProblem => ({ problem: 'link_bad_offer', message })

/** An absurd clock has no ISO form. */
const timeText = (ms: Millis): string =>
  Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`
