/**
 * Takes what came in `PAYMENT-SIGNATURE` for a request, or says by name why not. A voucher of a channel that is known here is
 * checked from memory: two hashes and one signature. Anything else asks the chain and the store first, and is limited.
 *
 *   terms ──► price ──► channel known? ──► signature ──► free? ──► ceiling = told + price? ──► within the deposit? ──► taken
 *                            │ no: deposit, then open, once
 */
import { bytesOf, ZERO_ADDRESS, type Hex } from '../../../core/base/hex.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { InferenceRequest } from '../../../core/protocol/inference-request.ts'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { addressOf, secp256k1 } from '../../../io/keys/secp256k1.ts'
import type { ChannelPayment } from '../../../core/ledger/x402-payment.ts'
import type { ChannelsTypedData } from '../../../io/chain/typed-data.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { Meter } from '../meter.ts'
import type { Accepted, ChannelService } from '../money/channel-service.ts'
import { correctiveOf, type ChannelFigures } from './channel-state.ts'
import { ChannelTab } from './channel-tab.ts'
import { offTerms } from './check-terms.ts'
import type { DepositDesk, DepositMade } from './deposit-desk.ts'
import { PaidRequest } from './paid-request.ts'
import type { PayerAccounts } from './payer-accounts.ts'
import { fault, faultOf, isFault, type PaymentFault } from './payment-fault.ts'
import type { Quote } from './quote.ts'
import { MAX_OFFER_STEP, networkOf, type X402Terms } from './terms.ts'
import type { Trust } from './trust.ts'

/** `ChannelBook` fits. */
export type X402Channels = Pick<ChannelService, 'accept' | 'open' | 'channel' | 'refresh'> & {
  /** The newest voucher as the store has it. */
  record(id: Hex): { readonly ceilingUnits: bigint; readonly signature: Hex | null } | null
}

export type PaymentParts = {
  readonly terms: X402Terms
  readonly channels: X402Channels
  readonly typedData: ChannelsTypedData
  readonly accounts: PayerAccounts
  readonly deposits: DepositDesk
  readonly trust: Trust
  readonly meter: Pick<Meter, 'settleLate'>
  readonly logger: Logger
  readonly now: () => Millis
}

export type Payments = {
  take(payment: ChannelPayment, quote: Quote): Taken | Promise<Taken>
}

export type Taken = PaidRequest | PaymentFault

type Incoming = {
  readonly payment: ChannelPayment
  readonly channelId: Hex
  readonly signedUnits: bigint
  readonly quotedNanoUsd: NanoUsd
  readonly request: InferenceRequest
}

/** Channels that are being opened now: beyond it, try again. */
const MAX_OPENING = 32
/** The answer waits so long for its voucher to be on disk; then it ends, and the channel stays busy. */
const DURABLE_WAIT_MS = 10_000
const BUSY_RETRY_S = 1

export function createPayments(parts: PaymentParts): Payments {
  const { terms, channels, typedData, accounts, deposits, trust, meter, logger, now } = parts
  const tabs = new Map<Hex, ChannelTab>()
  const opening = new Set<Hex>()
  const nothingToWaitFor = Promise.resolve()

  function take(payment: ChannelPayment, quote: Quote): Taken | Promise<Taken> {
    const channelId = typedData.channelId(payment.config)
    const off = offTerms(payment, channelId, terms)
    if (off) return off
    const { amountUnits: signedUnits } = payment.accepted
    const priced = pricedAt(quote, signedUnits)
    if (isFault(priced)) return priced
    const { request, nanoUsd: quotedNanoUsd } = priced
    const incoming = { payment, channelId, signedUnits, quotedNanoUsd, request }
    const tab = tabs.get(channelId)
    if (tab && payment.deposit === null) return pay(tab, incoming, null)
    return takeSlowly(incoming)
  }

  /** A channel that is not known here, or a deposit: the chain is asked, or told. */
  async function takeSlowly(incoming: Incoming): Promise<Taken> {
    const { payment, channelId } = incoming
    if (!signedByPayer(payment)) return badSignature(channelId)
    if (opening.has(channelId)) return busy(channelId)
    if (opening.size >= MAX_OPENING)
      return fault('deposit_limit', 'Too many channels are being opened just now. Try again.', {
        retryAfterS: 2,
      })
    opening.add(channelId)
    try {
      const made = payment.deposit === null ? null : await deposits.make(payment, channelId)
      if (made !== null && isFault(made)) return made
      const tab = tabs.get(channelId) ?? (await openTab(incoming, made))
      if (isFault(tab)) return tab
      if (made !== null)
        trust.mined(tab, payment.config, payment.voucher, await deposits.balance(channelId))
      return await pay(tab, incoming, made)
    } finally {
      opening.delete(channelId)
    }
  }

  async function openTab(
    { payment, channelId }: Incoming,
    made: DepositMade | null,
  ): Promise<ChannelTab | PaymentFault> {
    const { config, voucher } = payment
    if (channels.channel(channelId) === null && (await deposits.balance(channelId)) === 0n)
      return fault(
        'channel_unknown',
        `The channel ${channelId} has no deposit on chain. Send a payment of type 'deposit'.`,
      )
    const payer = await accounts.ensure(channelId, config.payer)
    if (channels.channel(channelId) === null) {
      const open = () => channels.open(config, payer.account.id, voucher)
      const opened = made !== null && trust.allowed ? await open() : await untilFinal(open)
      if (isRefusal(opened)) {
        if (opened.code === 'conflict') return hasAccount(channelId)
        if (made === null || !trust.allowed || opened.code !== 'deposit_not_final')
          return faultOf(opened)
        return keep(new ChannelTab(channelId, payer, 0n))
      }
    }
    const view = await channels.refresh(channelId)
    if (isRefusal(view)) return faultOf(view)
    const tab = keep(new ChannelTab(channelId, payer, view.chargedUnits))
    const newest = channels.record(channelId)
    if (newest !== null && newest.signature !== null) {
      const { ceilingUnits: maxClaimable, signature } = newest
      tab.signed({ channelId, maxClaimable, signature: bytesOf(signature) })
      // Before this gateway was started, most likely.
      tab.serve(maxClaimable)
    }
    return tab
  }

  function keep(tab: ChannelTab): ChannelTab {
    tabs.set(tab.id, tab)
    return tab
  }

  /** A deposit that is mined is not final yet: asked again until it is, or until its client would have given up. */
  async function untilFinal<T extends object>(
    ask: () => Promise<T | Refusal>,
  ): Promise<T | Refusal> {
    const deadline = now() + deposits.patienceMs
    for (;;) {
      const answer = await ask()
      if (!isRefusal(answer) || answer.code !== 'deposit_not_final') return answer
      if (now() >= deadline) return answer
      await deposits.nextBlock()
    }
  }

  function pay(
    tab: ChannelTab,
    incoming: Incoming,
    made: DepositMade | null,
  ): Taken | Promise<Taken> {
    const { payment, channelId, signedUnits } = incoming
    const { voucher } = payment
    const view = channels.channel(channelId)
    const trusted = trust.balanceUnits(channelId)
    if (view === null && trusted === null)
      return fault('channel_unknown', `The channel ${channelId} is not open here any more.`)
    if (view !== null && view.account !== tab.payer.account.id) return hasAccount(channelId)
    if (!signedByPayer(payment)) return badSignature(channelId)
    tab.signed(voucher)
    if (tab.busy) return busy(channelId)
    if (view !== null && view.state !== 'open')
      return fault(
        'channel_closing',
        `The channel ${channelId} is being left: it pays nothing more. Open another with another salt.`,
      )
    tab.catchUp(view?.chargedUnits ?? 0n)
    const off = offStep(tab, incoming, figuresOf(channelId))
    if (off) return off
    const ceiling = voucher.maxClaimable
    if (view === null || ceiling > view.balanceUnits) {
      // A deposit that is not final yet is not in the balance.
      const credited = ceiling > (trusted ?? 0n) ? null : trust.take(channelId, signedUnits)
      if (credited) return taken(tab, incoming, { made, credited, durable: nothingToWaitFor })
      if (made !== null) return payWhenFinal(tab, incoming, made)
      return aboveDeposit(ceiling, view?.balanceUnits ?? 0n, trusted)
    }
    tab.busy = true
    const accepted = ceiling > view.ceilingUnits ? channels.accept(voucher) : null
    if (accepted === null)
      return taken(tab, incoming, { made, credited: nothingToWaitFor, durable: nothingToWaitFor })
    if (!(accepted instanceof Promise)) return whenAccepted(tab, incoming, made, accepted)
    return accepted.then(
      (answer) => whenAccepted(tab, incoming, made, answer),
      (error: unknown) => {
        tab.busy = false
        throw error
      },
    )
  }
  async function payWhenFinal(
    tab: ChannelTab,
    incoming: Incoming,
    made: DepositMade,
  ): Promise<Taken> {
    const { channelId, payment } = incoming
    const enough = await untilFinal(async () => {
      const view = await channels.refresh(channelId)
      if (isRefusal(view)) return view
      if (view.balanceUnits >= payment.voucher.maxClaimable) return view
      return refuse(
        'deposit_not_final',
        `The deposit ${made.transaction} is mined, and not final yet. Send the request again without a deposit.`,
        { retryAfterS: 5 },
      )
    })
    return isRefusal(enough) ? faultOf(enough) : pay(tab, incoming, null)
  }

  function whenAccepted(
    tab: ChannelTab,
    incoming: Incoming,
    made: DepositMade | null,
    accepted: Accepted | Refusal,
  ): PaidRequest | PaymentFault {
    if (!isRefusal(accepted)) {
      const credited = settled(accepted.durable, incoming.channelId)
      return taken(tab, incoming, { made, credited, durable: atMost(credited, DURABLE_WAIT_MS) })
    }
    tab.busy = false
    return {
      ...faultOf(accepted),
      corrective: correctiveOf(tab, figuresOf(incoming.channelId)),
    }
  }

  function taken(
    tab: ChannelTab,
    { payment, channelId, signedUnits, quotedNanoUsd, request }: Incoming,
    by: { made: DepositMade | null; credited: Promise<void>; durable: Promise<void> },
  ): PaidRequest {
    tab.busy = true
    return new PaidRequest({
      tab,
      request,
      payerAddress: payment.config.payer,
      meter,
      network: networkOf(terms),
      ceilingUnits: payment.voucher.maxClaimable,
      signedUnits,
      quotedNanoUsd,
      deposit: by.made,
      figures: () => figuresOf(channelId),
      credited: by.credited,
      durable: by.durable,
    })
  }

  function settled(durable: Promise<Refusal | null>, channelId: Hex): Promise<void> {
    return durable.then(
      (refusal) => {
        if (refusal) logger.warn('voucher not credited', { channelId, code: refusal.code })
      },
      (error: unknown) => logger.warn('voucher not durable', { channelId, error }),
    )
  }

  /** Vouchers of channels that the book does not know. */
  function signedByPayer({ config, voucher }: ChannelPayment): boolean {
    const digest = typedData.voucherDigest(voucher.channelId, voucher.maxClaimable)
    const key = secp256k1.recover(digest, voucher.signature)
    const signer = config.payerAuthorizer === ZERO_ADDRESS ? config.payer : config.payerAuthorizer
    return key !== null && addressOf(key) === signer
  }

  function figuresOf(channelId: Hex): ChannelFigures {
    const view = channels.channel(channelId)
    return {
      balanceUnits: larger(view?.balanceUnits ?? 0n, trust.balanceUnits(channelId) ?? 0n),
      claimedUnits: view?.claimedUnits ?? 0n,
      closing: view !== null && view.state !== 'open',
    }
  }

  return { take }
}

const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b)

/** The ceiling must be what was told and this request's price: an older voucher, or a larger one, is none for it. */
function offStep(
  tab: ChannelTab,
  { payment, signedUnits }: Incoming,
  figures: ChannelFigures,
): PaymentFault | null {
  const ceiling = payment.voucher.maxClaimable
  const expected = tab.toldUnits + signedUnits
  const reused = tab.wasServed(ceiling)
  if (ceiling === expected && !reused) return null
  // Its payer may come to ask for that very sum again by chance, and nobody could tell the two apart.
  if (reused && ceiling === expected) tab.skipOne()
  const told = tab.toldUnits
  const more = {
    corrective: correctiveOf(tab, figures),
    details: { ceilingUnits: ceiling, chargedUnits: told, maximumUnits: signedUnits },
  }
  const sign = `charged until now are ${told} units and this request costs at most ${signedUnits}: sign ${told + signedUnits}.`
  if (reused)
    return fault(
      'voucher_reused',
      `A voucher with the ceiling ${ceiling} has paid an answer already; ${sign}`,
      more,
    )
  return ceiling > expected
    ? fault('payment_over_maximum', `The voucher's ceiling is ${ceiling} units; ${sign}`, more)
    : fault('voucher_stale', `The voucher's ceiling is ${ceiling} units; ${sign}`, more)
}

function aboveDeposit(ceiling: bigint, balance: bigint, trusted: bigint | null): PaymentFault {
  if (trusted !== null && ceiling <= trusted)
    return fault(
      'deposit_not_final',
      'The deposit is mined and not final yet, and as much as this gateway trusts before that is used up. Try again.',
      { retryAfterS: 5 },
    )
  return fault(
    'voucher_above_deposit',
    `The voucher's ceiling is ${ceiling} units and the channel has ${balance}. Add a deposit.`,
    { details: { ceilingUnits: ceiling, balanceUnits: balance } },
  )
}

function pricedAt(
  quote: Quote,
  units: bigint,
): { readonly request: InferenceRequest; readonly nanoUsd: NanoUsd } | PaymentFault {
  if (units > quote.units + MAX_OFFER_STEP)
    return fault(
      'payment_over_maximum',
      `${units} units were signed for this request, which costs at most ${quote.units}. Ask again for the price.`,
      { details: { signedUnits: units, maximumUnits: quote.units } },
    )
  const within = quote.within(units)
  if (within) return within
  return fault(
    'payment_too_low',
    `${units} units were signed for this request, and no replica serves it for less than ${quote.units}. Ask again for the price, or lower max_tokens.`,
    { details: { signedUnits: units, maximumUnits: quote.units } },
  )
}

const badSignature = (channelId: Hex): PaymentFault =>
  fault(
    'voucher_signature_invalid',
    `The voucher for ${channelId} is not signed by the channel's payer or its authorizer, or was changed since.`,
  )

const busy = (channelId: Hex): PaymentFault =>
  fault(
    'channel_busy',
    `The channel ${channelId} pays another request just now: one at a time. Wait for its answer, or use a channel with another salt.`,
    { retryAfterS: BUSY_RETRY_S },
  )

const hasAccount = (channelId: Hex): PaymentFault =>
  fault(
    'channel_has_account',
    `The channel ${channelId} belongs to an account: send its API key instead of a payment.`,
  )

function atMost(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
