/**
 * One request that came with its payment: the price is what its tokens cost, up to what was signed. It stands where a tenant's
 * key stands otherwise, and where the meter stands: what was signed is the credit, so no hold is asked of the ledger. The attempts'
 * settlements wait until the voucher that pays them is durable.
 */
import type { Address } from '../../../core/base/hex.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import { nanoUsdWithin } from '../../../core/ledger/told-charge.ts'
import type { InferenceRequest } from '../../../core/protocol/inference-request.ts'
import type { HeaderList } from '../../../io/http/respond.ts'
import type { Settlement } from '../../../io/store/store.ts'
import type { KeyEntry } from '../keyring.ts'
import type { Meter, Reservation } from '../meter.ts'
import type { ChannelTab } from './channel-tab.ts'
import { channelStateOf, type ChannelFigures } from './channel-state.ts'
import { encoded } from './terms.ts'

/** What a payment that came with the request has to do with its answer. Made for each request; none for tenants with a key. */
export type AnswerPayment = {
  /** Headers of an answer that is whole, and of a failure (`null`: nothing is charged). Once. */
  whole(costNanoUsd: NanoUsd | null): HeaderList
  /** Headers of a stream, before its cost is known. Once. */
  beginStream(): HeaderList
  /** The stream is over: a comment that tells what it cost. */
  endStream(costNanoUsd: NanoUsd): string
  /** The payer went away before it heard what it cost. */
  unheard(costNanoUsd: NanoUsd): void
  /** The voucher is on disk, or has had its time: an answer ends only then. */
  readonly durable: Promise<void>
}

export type PaidRequestParts = {
  readonly tab: ChannelTab
  /** As it is served: held to what was paid for. */
  readonly request: InferenceRequest
  readonly payerAddress: Address
  readonly meter: Pick<Meter, 'settleLate'>
  readonly network: string
  readonly ceilingUnits: bigint
  /** Of it, for this request. */
  readonly signedUnits: bigint
  /** The most that it may cost as it was quoted: at most what was signed. */
  readonly quotedNanoUsd: NanoUsd
  /** A deposit that came with it: its transaction. */
  readonly deposit: { readonly transaction: string; readonly units: bigint } | null
  readonly figures: () => ChannelFigures
  /** Resolves when the voucher's credit is in the ledger, or never will be. */
  readonly credited: Promise<void>
  readonly durable: Promise<void>
}

export class PaidRequest implements AnswerPayment {
  readonly durable: Promise<void>
  readonly #of: PaidRequestParts
  /** Told the payer, or never will be. */
  #told = false
  /** Reckoned at the end of the answer; what is settled takes its place. */
  #reckonedNanoUsd: NanoUsd = 0n
  #settledNanoUsd: NanoUsd = 0n
  #ended = false
  #reservations = 0

  constructor(of: PaidRequestParts) {
    this.#of = of
    this.durable = of.durable
  }

  get request(): InferenceRequest {
    return this.#of.request
  }

  get payer(): KeyEntry {
    return this.#of.tab.payer
  }

  /** In the meter's place. */
  reserve(ceilingNanoUsd: NanoUsd): Reservation | Refusal {
    const { signedUnits } = this.#of
    if (ceilingNanoUsd > nanoUsdWithin(signedUnits))
      return refuse(
        'payment_too_low',
        `This could cost up to ${ceilingNanoUsd} nano-dollars now, and ${signedUnits} units were signed for it. Ask again for the price.`,
        { details: { signedUnits, needNanoUsd: ceilingNanoUsd } },
      )
    this.#reservations += 1
    let open = true
    return {
      settle: (settlement) => this.#settle(settlement),
      close: () => {
        if (!open) return
        open = false
        this.#reservations -= 1
        this.#reckon()
      },
    }
  }

  whole(costNanoUsd: NanoUsd | null): HeaderList {
    const { tab, deposit, ceilingUnits, signedUnits } = this.#of
    if (costNanoUsd === null) {
      this.#end(0n)
      // A deposit was made all the same: a client that does not hear of it would make another.
      return deposit === null ? [] : this.#response(0n)
    }
    const charge = tab.tell(costNanoUsd, signedUnits)
    tab.serve(ceilingUnits)
    this.#end(costNanoUsd)
    return this.#response(charge)
  }

  beginStream(): HeaderList {
    const { tab, quotedNanoUsd, signedUnits, ceilingUnits } = this.#of
    this.#told = true
    const charge = tab.tell(quotedNanoUsd, signedUnits)
    tab.serve(ceilingUnits)
    return this.#response(charge)
  }

  endStream(costNanoUsd: NanoUsd): string {
    this.#end(costNanoUsd)
    const { tab } = this.#of
    return `: x402 ${JSON.stringify({
      chargedNanoUsd: String(costNanoUsd),
      spentNanoUsd: String(tab.spentNanoUsd),
      chargedCumulativeAmount: String(tab.toldUnits),
    })}\n\n`
  }

  unheard(costNanoUsd: NanoUsd): void {
    if (this.#ended) return
    // Something may have reached it: this voucher pays nothing else.
    if (!this.#told && costNanoUsd > 0n) this.#of.tab.serve(this.#of.ceilingUnits)
    this.#end(costNanoUsd)
  }

  #response(chargedUnits: bigint): HeaderList {
    const { tab, network, deposit, figures, payerAddress } = this.#of
    this.#told = true
    const response = {
      success: true,
      transaction: deposit?.transaction ?? '',
      network,
      payer: payerAddress,
      amount: deposit ? String(deposit.units) : '',
      extra: {
        chargedAmount: String(chargedUnits),
        channelState: channelStateOf(tab, figures()),
      },
    }
    return ['payment-response', encoded(response)]
  }

  /** A call in the place of the meter's: paid from the account's balance once its credit is there. */
  #settle(settlement: Settlement): void {
    this.#settledNanoUsd += settlement.usage.nanoUsd
    const { meter, credited } = this.#of
    void credited.then(() => meter.settleLate(settlement))
  }

  #end(costNanoUsd: NanoUsd): void {
    if (this.#ended) return
    this.#ended = true
    const { tab } = this.#of
    this.#reckonedNanoUsd = costNanoUsd
    tab.spend(costNanoUsd)
    // What cost nothing puts nothing at risk.
    if (costNanoUsd === 0n) tab.busy = false
    else
      void this.durable.then(() => {
        tab.busy = false
      })
    this.#reckon()
  }

  /** Once all is settled, what was settled counts: a receipt may say a nano-dollar more or less than the bill did. */
  #reckon(): void {
    if (!this.#ended || this.#reservations > 0) return
    const { tab } = this.#of
    tab.spend(this.#settledNanoUsd - this.#reckonedNanoUsd)
    this.#reckonedNanoUsd = this.#settledNanoUsd
  }
}
