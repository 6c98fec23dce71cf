/**
 * The channels of this gateway's tenants, in memory: a voucher is verified and counted against the last final deposit at once,
 * and made durable behind. Nothing here is the truth: the store and the chain are, and `update` brings what they say.
 */
import {
  parseAddress,
  lowerHex,
  hexOf,
  ZERO_ADDRESS,
  type Address,
  type Hex,
} from '../../../core/base/hex.ts'
import { idFrom } from '../../../core/base/id.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import { Fault, isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { ChannelConfig, Voucher } from '../../../core/ledger/channel-config.ts'
import { NANO_PER_UNIT, whyNoVoucher } from '../../../core/ledger/channel.ts'
import { channelsTypedData, type ChannelsTypedData } from '../../../io/chain/typed-data.ts'
import { addressOf, keccak256, secp256k1 } from '../../../io/keys/secp256k1.ts'
import type {
  ChannelPlace,
  ChannelRecord,
  ChannelStore,
  VoucherOutcome,
} from '../../../io/store/channel-records.ts'
import { NO_LIMITS, type Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { ChannelChain } from './channel-chain.ts'
import { readFinal, whyNotOurs } from './channel-opening.ts'
import {
  boundElsewhere,
  channelClosing,
  channelUnknown,
  signatureInvalid,
} from './channel-refusals.ts'
import type { Accepted, ChannelService, ChannelView } from './channel-service.ts'
import { VoucherQueue } from './voucher-queue.ts'

export type ChannelBookParts = {
  readonly chain: ChannelChain
  readonly store: ChannelStore & Pick<Store, 'createAccount'>
  readonly logger: Logger
  /** Channels that let their payer leave sooner are not taken, seconds. */
  readonly minWithdrawDelayS: number
  /** What a tenant should sign at least each time, units. */
  readonly stepUnits: bigint
  /** How long a voucher waits for others before it is written. Default 2 ms. */
  readonly delayMs?: number
}

/** A channel as the hot path sees it. */
type Entry = {
  record: ChannelRecord
  /** What vouchers allow, those on their way to the store included. */
  acceptedUnits: bigint
  /** Vouchers on their way, and when the last of them is there. */
  pending: number
  arrival: Promise<unknown> | null
  readonly signer: Address
  /** The signer's, kept from its first voucher. */
  publicKey: Uint8Array | null
}

export class ChannelBook implements ChannelService {
  readonly place: ChannelPlace
  readonly operator: Address
  readonly #parts: ChannelBookParts
  readonly #data: ChannelsTypedData
  readonly #queue: VoucherQueue
  readonly #entries = new Map<Hex, Entry>()
  readonly #accounts = new Map<string, Entry[]>()
  #touch: (id: Hex) => void = () => {}

  /** Throws a Fault for a token whose units are not millionths of a dollar. */
  constructor(parts: ChannelBookParts) {
    const { chain, store, logger } = parts
    if (chain.token.decimals !== 6)
      throw new Fault(
        'config_invalid',
        `Channels are kept in a token with 6 decimals; ${chain.token.symbol} has ${chain.token.decimals}.`,
      )
    const verifyingContract = lowerHex(chain.addresses.channels)
    this.#parts = parts
    this.place = { chainId: chain.chainId, contract: verifyingContract }
    this.operator = lowerHex(chain.operator)
    this.#data = channelsTypedData({ chainId: chain.chainId, verifyingContract })
    this.#queue = new VoucherQueue({ store, logger, delayMs: parts.delayMs ?? 2 })
  }

  /** Loads every channel of this contract; again, to learn of those that other gateways bound. */
  async load(): Promise<void> {
    this.update(await this.#parts.store.channelsAt(this.place))
  }

  /** Told of each channel that is new here, so that what happens to it from now on is looked at. */
  onNew(touch: (id: Hex) => void): void {
    this.#touch = touch
  }

  /** What the store says now. */
  update(records: readonly ChannelRecord[]): void {
    for (const record of records) {
      const known = this.#entries.get(record.id)
      if (known) {
        known.record = record
        if (known.pending === 0) known.acceptedUnits = record.allowedUnits
      } else this.#add(record)
    }
  }

  #add(record: ChannelRecord): void {
    const { payer, payerAuthorizer } = record.config
    const signer = payerAuthorizer === ZERO_ADDRESS ? payer : payerAuthorizer
    const entry = {
      record,
      acceptedUnits: record.allowedUnits,
      pending: 0,
      arrival: null,
      signer,
      publicKey: null,
    }
    this.#entries.set(record.id, entry)
    const others = this.#accounts.get(record.account)
    if (others) others.push(entry)
    else this.#accounts.set(record.account, [entry])
  }

  records(): ChannelRecord[] {
    return [...this.#entries.values()].map(({ record }) => record)
  }

  record(id: Hex): ChannelRecord | null {
    return this.#entries.get(id)?.record ?? null
  }

  accept(
    voucher: Voucher,
    config?: ChannelConfig,
  ): Accepted | Refusal | Promise<Accepted | Refusal> {
    const entry = this.#entries.get(voucher.channelId)
    return entry ? this.#accept(entry, voucher) : this.#acceptNew(voucher, config)
  }

  #accept(entry: Entry, voucher: Voucher): Accepted | Refusal {
    const { channelId, maxClaimable, signature } = voucher
    const { state, balanceUnits } = entry.record
    const before = entry.acceptedUnits
    const refusal =
      whyNoVoucher(channelId, { state, balanceUnits, allowedUnits: before }, maxClaimable) ??
      this.#unsigned(entry, voucher)
    if (refusal) return refusal
    const credited = entry.pending > 0 ? before : entry.record.creditedUnits
    entry.acceptedUnits = maxClaimable
    entry.pending += 1
    const durable = this.#queue
      .push({ channel: channelId, ceilingUnits: maxClaimable, signature: hexOf(signature) })
      .then((outcome) => this.#durable(entry, voucher, outcome))
      .finally(() => {
        entry.pending -= 1
        if (entry.pending === 0) entry.acceptedUnits = entry.record.allowedUnits
      })
    // Whoever does not wait for it must not end the process when the gateway closes first.
    entry.arrival = durable.catch(() => {})
    return { channel: viewOf(entry), creditedUnits: maxClaimable - credited, durable }
  }

  async #durable(
    entry: Entry,
    { channelId, maxClaimable, signature }: Voucher,
    outcome: VoucherOutcome,
  ): Promise<Refusal | null> {
    if (outcome === 'known') {
      // The store knows more than is known here: another gateway was quicker.
      await this.#reload(channelId)
      return null
    }
    if (outcome === 'credited') {
      const { record } = entry
      if (maxClaimable > record.allowedUnits && record.state !== 'closing') {
        const higher = maxClaimable > record.ceilingUnits
        entry.record = {
          ...record,
          allowedUnits: maxClaimable,
          creditedUnits: maxClaimable,
          ceilingUnits: higher ? maxClaimable : record.ceilingUnits,
          signature: higher ? hexOf(signature) : record.signature,
        }
        if (record.uncollectedUnits > 0n) await this.#reload(channelId)
      }
      return null
    }
    await this.#reload(channelId)
    return outcome === 'closing'
      ? channelClosing(channelId)
      : (whyNoVoucher(channelId, entry.record, maxClaimable) ?? channelUnknown(channelId))
  }

  async #reload(id: Hex): Promise<void> {
    this.update(await this.#parts.store.channelRecords([id]))
  }

  async #acceptNew(voucher: Voucher, config?: ChannelConfig): Promise<Accepted | Refusal> {
    // Another gateway may have bound it.
    await this.#reload(voucher.channelId)
    if (!this.#entries.has(voucher.channelId)) {
      if (!config) return channelUnknown(voucher.channelId)
      const opened = await this.open(config, null, voucher)
      if (isRefusal(opened)) return opened
    } else this.#touch(voucher.channelId)
    const entry = this.#entries.get(voucher.channelId)
    return entry ? this.#accept(entry, voucher) : channelUnknown(voucher.channelId)
  }

  verify(voucher: Voucher): Refusal | null {
    const entry = this.#entries.get(voucher.channelId)
    return entry ? this.#unsigned(entry, voucher) : channelUnknown(voucher.channelId)
  }

  #unsigned(entry: Entry, { channelId, maxClaimable, signature }: Voucher): Refusal | null {
    const digest = this.#data.voucherDigest(channelId, maxClaimable)
    if (entry.publicKey)
      return secp256k1.verify(digest, signature, entry.publicKey)
        ? null
        : signatureInvalid(channelId, entry.signer)
    const publicKey = secp256k1.recover(digest, signature)
    if (publicKey === null || addressOf(publicKey) !== entry.signer)
      return signatureInvalid(channelId, entry.signer)
    entry.publicKey = publicKey
    return null
  }

  channelId(config: ChannelConfig): Hex {
    return this.#data.channelId(config)
  }

  async open(
    config: ChannelConfig,
    account: string | null,
    proof: Voucher,
  ): Promise<ChannelView | Refusal> {
    const id = this.#data.channelId(config)
    const { chain, minWithdrawDelayS } = this.#parts
    const terms = {
      operator: this.operator,
      token: lowerHex(chain.token.address),
      minWithdrawDelayS,
    }
    const wrong = whyNotOurs(terms, config) ?? this.#unproven(id, config, proof)
    if (wrong) return wrong
    const final = await readFinal(chain, this.place.contract, id)
    if (isRefusal(final)) return final
    const owner = account ?? accountOfPayer(config.payer)
    if (account === null)
      await this.#parts.store.createAccount({
        id: owner,
        kind: 'tenant',
        name: config.payer,
        limits: NO_LIMITS,
      })
    const record = await this.#parts.store.bindChannel(this.place, {
      id,
      account: owner,
      config,
      final,
    })
    if (record.account !== owner && account !== null) return boundElsewhere(id)
    this.update([record])
    this.#touch(id)
    return this.channel(id) ?? channelUnknown(id)
  }

  #unproven(id: Hex, { payer, payerAuthorizer }: ChannelConfig, proof: Voucher): Refusal | null {
    const signer = payerAuthorizer === ZERO_ADDRESS ? payer : payerAuthorizer
    const digest = this.#data.voucherDigest(id, proof.maxClaimable)
    const publicKey = secp256k1.recover(digest, proof.signature)
    return proof.channelId === id && publicKey !== null && addressOf(publicKey) === signer
      ? null
      : signatureInvalid(id, signer)
  }

  async settled(id: Hex): Promise<void> {
    for (let last: Entry['arrival'] = null; ;) {
      const arrival = this.#entries.get(id)?.arrival ?? null
      if (arrival === last) return
      await arrival
      last = arrival
    }
  }

  channel(id: Hex): ChannelView | null {
    const entry = this.#entries.get(id)
    return entry ? viewOf(entry) : null
  }

  channels(account: string): readonly ChannelView[] {
    return (this.#accounts.get(account) ?? []).map(viewOf)
  }

  async refresh(id: Hex): Promise<ChannelView | Refusal> {
    const entry = this.#entries.get(id)
    if (!entry) return channelUnknown(id)
    const { account } = entry.record
    this.update(await this.#parts.store.reconcileChannels(this.place, account, []))
    return viewOf(entry)
  }

  async close(id: Hex, account: string): Promise<ChannelView | Refusal> {
    if (!this.#entries.has(id)) await this.#reload(id)
    const entry = this.#entries.get(id)
    if (!entry || entry.record.account !== account) return channelUnknown(id)
    this.update(await this.#parts.store.leaveChannel(this.place, account, id))
    this.#touch(id)
    return viewOf(entry)
  }

  /**
   * What a tenant who runs dry should sign: null when no open channel of the account has so much deposited, and what is there is
   * no help.
   */
  voucherFor(account: string, have: NanoUsd, need: NanoUsd): Refusal | null {
    const lacking = (need - have + NANO_PER_UNIT - 1n) / NANO_PER_UNIT
    const { stepUnits } = this.#parts
    for (const { record, acceptedUnits } of this.#accounts.get(account) ?? []) {
      const needCeiling = acceptedUnits + lacking
      if (record.state !== 'open' || needCeiling > record.balanceUnits) continue
      const step = lacking > stepUnits ? lacking : stepUnits
      return refuse(
        'voucher_needed',
        `This request could cost up to ${need / NANO_PER_UNIT} units, and the account has ${have / NANO_PER_UNIT}. Sign a voucher up to ` +
          `${needCeiling} units of the channel ${record.id} at least: POST /v1/channels/${record.id}/vouchers. ` +
          `Steps of ${step} save signatures.`,
        { details: { channelId: record.id, needCeiling, step, deposit: record.balanceUnits } },
      )
    }
    return null
  }

  get backlog(): number {
    return this.#queue.backlog
  }

  /** Makes durable what was accepted. */
  stop(): Promise<void> {
    return this.#queue.close()
  }
}

/** The account of a payer who has no other: the same for every gateway and chain. */
export const accountOfPayer = (payer: Address): string =>
  idFrom('acct', keccak256(new TextEncoder().encode(`baseload payer ${parseAddress(payer)}`)))

const viewOf = ({ record, acceptedUnits }: Entry): ChannelView => ({
  id: record.id,
  account: record.account,
  config: record.config,
  state: record.state,
  balanceUnits: record.balanceUnits,
  ceilingUnits: acceptedUnits,
  creditedUnits: record.creditedUnits,
  chargedUnits: record.chargedUnits,
  claimedUnits: record.claimedUnits,
  exitAt: record.exitAt,
})
