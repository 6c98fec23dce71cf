/**
 * An offer: what a node sells, standing until replaced, signed by the node's key. A gateway may show it to
 * anyone, and anyone can check it; no field holds an address.
 */
import { z } from 'zod'
import { parseNanoUsd, MAX_NANO_USD_PER_MTOK, type TokenPrice } from '../base/money.ts'
import { capacitySchema } from './capacity.ts'
import { priceSheetSchema } from './price-sheet.ts'
import { sealingKeySchema } from './secrets.ts'

/** Keeps an offer under one control frame and a node's models on one screen. */
export const MAX_MODELS_PER_OFFER = 64
export const MAX_SLOTS_PER_MODEL = 4096

/** What an engine can really do, probed and not assumed. A request that needs a missing one is refused by name. */
export const CAPABILITIES = [
  'chat', // chat templates: messages in, text out
  'completion', // raw prompt in, text out
  'embedding',
  'logprobs',
  'token_ids', // chunks carry true ids, so the gateway counts and resumes by them
  'seed', // same seed, same text
  'positional_seed', // randomness keyed by (seed, position): a resumed sample goes on as the same sample
  'json_object',
  'json_schema',
  'stop',
  'resume_ids', // goes on after given token ids
  'resume_text', // goes on after given text (assistant prefill, continue_final_message)
] as const
export type Capability = (typeof CAPABILITIES)[number]

const price = z
  .string()
  .refine((text) => (parseNanoUsd(text) ?? MAX_NANO_USD_PER_MTOK + 1n) <= MAX_NANO_USD_PER_MTOK, {
    message: 'nano-dollars per million tokens as a decimal string',
  })

const name = z.string().min(1).max(200)
const MODEL_NAME = /^[\w.:/@+-]+$/

/** Whether a model may be called so. */
export const isModelName = (text: string): boolean => MODEL_NAME.test(text)

const offeredModel = z.strictObject({
  /** What tenants ask for, e.g. `bard-3m`. */
  model: name.regex(MODEL_NAME),
  /** `sha256:<hex>` of the weights file, or `name:<…>` where an upstream server hides it. Resume needs equality. */
  digest: z
    .string()
    .max(300)
    .regex(/^(sha256:[0-9a-f]{64}|name:.+)$/),
  /** Engine and version, e.g. `llama.cpp/3.22.1`. */
  engine: name,
  quantization: z.string().max(40).nullable(),
  contextTokens: z.int().min(1).max(100_000_000),
  /** Attempts that run at the same time. */
  slots: z.int().min(1).max(MAX_SLOTS_PER_MODEL),
  capabilities: z.array(z.enum(CAPABILITIES)).max(CAPABILITIES.length),
  inputNanoUsdPerMTok: price,
  outputNanoUsdPerMTok: price,
})
export type OfferedModel = z.infer<typeof offeredModel>

export const offerSchema = z.strictObject({
  v: z.literal(1),
  node: z.string().regex(/^node_[0-9a-z]{24}$/),
  /** Grows with each offer; a gateway keeps the highest. */
  sequence: z.int().min(1),
  issuedAtMs: z.int().min(0),
  software: name,
  /** Whom to thank; free text, not verified. */
  providerName: z.string().max(80).nullable(),
  /** What the provider claims, e.g. `eu-de`; proving it is not this document's work. */
  region: z.string().max(40).nullable(),
  /** Whether prompts are kept or learned from: matched against `provider.data_collection` and `zdr`. */
  dataCollection: z.enum(['deny', 'allow']),
  models: z.array(offeredModel).max(MAX_MODELS_PER_OFFER),
  /** What can be leased here, and for how much; left out by a node that runs no containers. */
  leases: z
    .strictObject({
      capacity: capacitySchema,
      /** Null: it asks a program of its provider's about each order. */
      prices: priceSheetSchema.nullable(),
      /** What secrets for leases here are sealed to; null: none can be sent. */
      sealing: sealingKeySchema.nullable().default(null),
    })
    .nullable()
    .default(null),
})
export type Offer = z.infer<typeof offerSchema>

/** The exact bytes that were signed, and the signature over `OFFER_DOMAIN` + those bytes. */
export const signedOfferSchema = z.strictObject({
  offer: z.string().max(512 * 1024),
  signature: z.string().max(200),
})
export type SignedOffer = z.infer<typeof signedOfferSchema>

export const OFFER_DOMAIN = 'baseload offer v1\n'

export function priceOf(model: OfferedModel): TokenPrice {
  return {
    inputNanoUsdPerMTok: BigInt(model.inputNanoUsdPerMTok),
    outputNanoUsdPerMTok: BigInt(model.outputNanoUsdPerMTok),
  }
}
