/**
 * Payouts on the node link: where a node's earnings go on chain, signed by the node, and the IOUs that a gateway signs for them.
 * Both are documents of their own: an offer is strict, and an older gateway would refuse one with a field that it does not know.
 */
import { z } from 'zod'
import { lowerHex, type Address, type Hex } from '../base/hex.ts'

/** An account on an EVM chain, lower case once read. Whether its capitals are right (EIP-55) is seen where it is typed in. */
export const evmAddressSchema = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/, 'an address: 0x and 40 hexadecimal digits')
  .transform((text): Address => lowerHex(`0x${text.slice(2)}`))

export const payoutStatementSchema = z.strictObject({
  v: z.literal(1),
  node: z.string().regex(/^node_[0-9a-z]{24}$/),
  /** Who is paid for what this node does. */
  address: evmAddressSchema,
  /** Grows with each change; a gateway keeps the highest. */
  sequence: z.int().min(1),
})
export type PayoutStatement = z.infer<typeof payoutStatementSchema>

/** The exact bytes that were signed, and the signature over `PAYOUT_DOMAIN` + those bytes. */
export const signedPayoutSchema = z.strictObject({
  statement: z.string().max(500),
  signature: z.string().max(200),
})
export type SignedPayout = z.infer<typeof signedPayoutSchema>

export const PAYOUT_DOMAIN = 'baseload payout v1\n'

/** Units of the token, as they travel: at most 2^63 - 1, what the ledger can hold. */
const units = z.string().regex(/^(0|[1-9]\d{0,18})$/)
const nanoUsd = z.string().regex(/^(0|[1-9]\d{0,18})$/)

export const iouSchema = z.object({
  kind: z.literal('iou'),
  chainId: z.int().min(1),
  /** The contract that pays, and who owes: the gateway's key there. */
  payouts: evmAddressSchema,
  gateway: evmAddressSchema,
  provider: evmAddressSchema,
  /** Roots of this epoch and later owe `cumulative` at least. */
  epoch: z.int().min(1).max(0xffff_ffff),
  /** Units of the token since the beginning. */
  cumulative: units,
  /** secp256k1 over the EIP-712 digest, 65 bytes, hex. */
  signature: z
    .string()
    .regex(/^0x[0-9a-f]{130}$/)
    .transform((text): Hex => `0x${text.slice(2)}`),
  /** What of each payment the gateway keeps. */
  feeBps: z.int().min(0).max(10_000),
})
export type Iou = z.infer<typeof iouSchema>

/** What a gateway says instead to a node that named no address: its earnings stay where they are, and so much they are. */
export const unpaidSchema = z.object({ kind: z.literal('unpaid'), nanoUsd })

/** A kind that a node does not know is ignored, as an unknown frame is. */
export const payoutNewsSchema = z.discriminatedUnion('kind', [iouSchema, unpaidSchema])
export type PayoutNews = z.infer<typeof payoutNewsSchema>
