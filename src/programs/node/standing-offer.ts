/**
 * What this node sells now: the engine's facts and the provider's prices, signed. The same signed offer goes
 * to every gateway, and its sequence grows over restarts too, so that an old offer can never replace a newer.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { canonicalJson } from '../../core/base/canonical-json.ts'
import type { TokenPrice } from '../../core/base/money.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  MAX_MODELS_PER_OFFER,
  OFFER_DOMAIN,
  offerSchema,
  type Offer,
  type OfferedModel,
  type SignedOffer,
} from '../../core/protocol/offer.ts'
import type { EngineModel } from '../../io/engine/engine.ts'
import type { Identity } from '../../io/keys/identity.ts'

export type OfferParts = {
  readonly identity: Identity
  readonly software: string
  readonly providerName: string | null
  readonly region: string | null
  readonly dataCollection: Offer['dataCollection']
  /** Null: not for sale here. */
  readonly priceOf: (model: string) => TokenPrice | null
  /** File that remembers the last sequence. */
  readonly sequencePath: string
  readonly now: () => Millis
}

export class StandingOffer {
  readonly #parts: OfferParts
  #offer: Offer
  #signed: SignedOffer
  #leases: Offer['leases'] = null

  constructor(parts: OfferParts, models: readonly EngineModel[]) {
    this.#parts = parts
    this.#offer = this.#make(this.#sold(models))
    this.#signed = this.#sign()
  }

  get models(): readonly OfferedModel[] {
    return this.#offer.models
  }

  get signed(): SignedOffer {
    return this.#signed
  }

  /** True when what is sold has changed: then there is a new offer, to be sent to every gateway. */
  update(models: readonly EngineModel[]): boolean {
    const sold = this.#sold(models)
    if (canonicalJson(sold) === canonicalJson(this.#offer.models)) return false
    this.#replace(sold)
    return true
  }

  /** From now on with what can be leased here: a new offer, to be sent to every gateway. */
  lease(leases: Offer['leases']): void {
    this.#leases = leases
    this.#replace(this.#offer.models)
  }

  #replace(models: readonly OfferedModel[]): void {
    this.#offer = this.#make(models)
    this.#signed = this.#sign()
  }

  #sold(models: readonly EngineModel[]): OfferedModel[] {
    const sold: OfferedModel[] = []
    for (const {
      model,
      digest,
      engine,
      quantization,
      contextTokens,
      slots,
      capabilities,
    } of models) {
      const price = this.#parts.priceOf(model)
      if (!price || sold.length === MAX_MODELS_PER_OFFER) continue
      sold.push({
        model,
        digest,
        engine,
        quantization,
        contextTokens,
        slots,
        capabilities: [...capabilities],
        inputNanoUsdPerMTok: String(price.inputNanoUsdPerMTok),
        outputNanoUsdPerMTok: String(price.outputNanoUsdPerMTok),
      })
    }
    return sold
  }

  #make(models: readonly OfferedModel[]): Offer {
    const { identity, software, providerName, region, dataCollection, now } = this.#parts
    const parsed = offerSchema.safeParse({
      v: 1,
      node: identity.id,
      sequence: nextSequence(this.#parts.sequencePath, now()),
      issuedAtMs: now(),
      software,
      providerName,
      region,
      dataCollection,
      models,
      leases: this.#leases,
    })
    if (parsed.success) return parsed.data
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new Fault('offer_invalid', `no gateway would take this offer: ${problems.join('; ')}`)
  }

  #sign(): SignedOffer {
    const offer = canonicalJson(this.#offer)
    return { offer, signature: this.#parts.identity.sign(OFFER_DOMAIN, offer) }
  }
}

/** Above the last one and not below the clock: a lost file does no harm, nor does a clock set back. */
function nextSequence(path: string, now: Millis): number {
  const sequence = Math.max(lastSequence(path) + 1, now)
  writeFileSync(`${path}.new`, `${sequence}\n`)
  renameSync(`${path}.new`, path)
  return sequence
}

function lastSequence(path: string): number {
  try {
    const stored = Number(readFileSync(path, 'utf8'))
    return Number.isSafeInteger(stored) && stored > 0 ? stored : 0
  } catch {
    return 0
  }
}
