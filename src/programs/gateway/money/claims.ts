/**
 * Brings in what is spent: claims of many channels in one transaction, once an epoch, sooner when much is unclaimed or somebody
 * leaves; then `settle`, which pays the operator. A claim that failed, or that the chain lost, is written anew; one that
 * fails among others is tried alone from then on, so that one bad channel holds up nobody else.
 */
import type { Hex } from '../../../core/base/hex.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import { claimableUnits, unspentUnits } from '../../../core/ledger/channel.ts'
import { claimData, refundData, settleData } from '../../../io/chain/channels-contract.ts'
import { writeAction } from '../../../io/store/chain-actions.ts'
import type { ChainActionStore } from '../../../io/store/chain-records.ts'
import type {
  ChannelActions,
  ChannelRecord,
  ChannelStore,
} from '../../../io/store/channel-records.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChannelChain } from './channel-chain.ts'

/** As many rows as a transaction takes. */
const ROWS = 200
/** A claim that fails so often waits until the channel's deposit changes. */
const MAX_FAILURES = 5
/** How often what is spent is counted when nothing else asks for it. */
const COUNT_EVERY_MS: Millis = MINUTE

export type ClaimParts = {
  readonly chain: ChannelChain
  readonly book: ChannelBook
  readonly store: ChannelStore & Pick<ChainActionStore, 'chainAction'>
  readonly logger: Logger
  readonly now: () => Millis
  /** How often everything that is spent is claimed. */
  readonly epochMs: Millis
  /** So much unclaimed is claimed at once, units. */
  readonly claimAboveUnits: bigint
  /** Gives back what is held for an account and not used: a channel of it is closing. */
  readonly release: (account: string) => void
}

export class Claims {
  readonly #parts: ClaimParts
  readonly #actions: ChannelActions
  #epochAt: Millis
  #countAt: Millis
  #timer: NodeJS.Timeout | null = null
  #working: Promise<void> | null = null
  #wanted = false
  #stopped = false

  constructor(parts: ClaimParts) {
    this.#parts = parts
    this.#actions = actionsOn(parts.chain, parts.book)
    this.#epochAt = parts.now() + parts.epochMs
    this.#countAt = parts.now() + COUNT_EVERY_MS
  }

  start(everyMs: Millis): void {
    this.#timer = setInterval(() => void this.look(), everyMs).unref()
  }

  /** Resolves after a look that began after this call. Never rejects: what does not work now is done later. */
  look(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#wanted = true
    this.#working ??= this.#lookWhileWanted().finally(() => (this.#working = null))
    return this.#working
  }

  async #lookWhileWanted(): Promise<void> {
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false
      try {
        await this.#look()
      } catch (error) {
        this.#parts.logger.warn('claims wait', { error: reasonOf(error) })
      }
    }
  }

  async #look(): Promise<void> {
    await this.#followUp()
    this.#release()
    const { now, book, claimAboveUnits, epochMs } = this.#parts
    const epoch = now() >= this.#epochAt
    if (epoch || now() >= this.#countAt) await this.#count()
    const due = book.records().filter(hasMore)
    const sum = due.reduce((units, channel) => units + moreOf(channel), 0n)
    const all = epoch || sum >= claimAboveUnits
    await this.#claim(all ? due : due.filter(({ leaving }) => leaving !== null))
    await this.#refund()
    if (epoch) this.#epochAt = now() + epochMs
  }

  #release(): void {
    for (const channel of this.#parts.book.records())
      if (channel.leaving !== null && unspentUnits(channel) > 0n)
        this.#parts.release(channel.account)
  }

  /** Claims all that is spent by now, whatever the epoch: for an operator, and before a long pause. */
  async claimNow(): Promise<void> {
    await this.#working
    await this.#count()
    await this.#claim(this.#parts.book.records().filter(hasMore))
  }

  async #count(): Promise<void> {
    const { book, store, now } = this.#parts
    this.#countAt = now() + COUNT_EVERY_MS
    const open = book
      .records()
      .filter(({ creditedUnits, chargedUnits }) => creditedUnits > chargedUnits)
    for (const account of new Set(open.map((channel) => channel.account)))
      book.update(await store.reconcileChannels(book.place, account, []))
  }

  async #claim(channels: readonly ChannelRecord[]): Promise<void> {
    const well = channels.filter(({ claimFailures }) => claimFailures === 0)
    const alone = channels.filter(({ claimFailures }) => claimFailures > 0)
    const batches = alone.map((channel) => [channel])
    for (let start = 0; start < well.length; start += ROWS)
      batches.push(well.slice(start, start + ROWS))
    const { store, chain } = this.#parts
    for (const batch of batches) {
      const written = await store.writeClaim(
        batch.map(({ id }) => id),
        this.#actions,
      )
      await this.#reload(batch.map(({ id }) => id))
      if (written.length > 0) chain.wake()
    }
  }

  /** Channels that close by consent, once nothing of them is unspent. */
  async #refund(): Promise<void> {
    const { book, store, chain } = this.#parts
    for (const channel of book.records()) {
      if (channel.leaving !== 'consent' || channel.refundPurpose !== null) continue
      // Meanwhile what held the tenant's money may have let it go.
      book.update(await store.reconcileChannels(book.place, channel.account, []))
      const now = book.record(channel.id)
      if (!now || unspentUnits(now) > 0n) continue
      if (await store.writeRefund(channel.id, this.#actions)) chain.wake()
      await this.#reload([channel.id])
    }
  }

  /** What became of claims and refunds that were written. */
  async #followUp(): Promise<void> {
    for (const channel of this.#parts.book.records()) {
      if (channel.claimPurpose !== null && channel.claimUnits > channel.claimedUnits)
        await this.#followClaim(channel, channel.claimPurpose)
      if (channel.refundPurpose !== null) await this.#followRefund(channel, channel.refundPurpose)
    }
  }

  async #followClaim(channel: ChannelRecord, purpose: string): Promise<void> {
    const { store, logger } = this.#parts
    const action = await store.chainAction(purpose)
    if (!isOver(action) || isAhead(action, channel)) return
    logger.warn('a claim did not come through; it is made anew', {
      channel: channel.id,
      purpose,
      problem: action.problem,
    })
    await store.claimMissed(channel.id, purpose)
    await this.#reload([channel.id])
  }

  async #followRefund(channel: ChannelRecord, purpose: string): Promise<void> {
    const { store, logger } = this.#parts
    const action = await store.chainAction(purpose)
    // None: there was nothing to give back; then the claim must be through.
    if (action !== null && (!isOver(action) || isAhead(action, channel))) return
    if (action === null && channel.claimedUnits < channel.claimUnits) return
    if (action?.state === 'failed')
      logger.error('a refund failed; the payer can ask again, or leave by itself', {
        channel: channel.id,
        purpose,
        problem: action.problem,
      })
    await store.closeChannel(channel.id, purpose)
    await this.#reload([channel.id])
  }

  async #reload(ids: readonly Hex[]): Promise<void> {
    const { book, store } = this.#parts
    book.update(await store.channelRecords(ids))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer) clearInterval(this.#timer)
    await this.#working
  }
}

type Action = NonNullable<Awaited<ReturnType<ChainActionStore['chainAction']>>>

const isOver = (action: Action | null): action is Action =>
  action?.state === 'final' || action?.state === 'failed'

/** It is in a block that the channel was not read at yet. */
const isAhead = ({ mined }: Action, { finalBlock }: ChannelRecord): boolean =>
  mined !== null && mined.blockNumber > finalBlock

const moreOf = (channel: ChannelRecord): bigint => {
  const before =
    channel.claimUnits > channel.claimedUnits ? channel.claimUnits : channel.claimedUnits
  return claimableUnits(channel) - before
}

const hasMore = (channel: ChannelRecord): boolean =>
  moreOf(channel) > 0n && channel.claimFailures < MAX_FAILURES

/** Claims and refunds as actions of the operator, who receives what is claimed. */
function actionsOn(chain: ChannelChain, { operator, place }: ChannelBook): ChannelActions {
  const target = place.contract
  return {
    async claim(sql, purpose, channels) {
      const rows = channels.map(({ config, ceilingUnits, signature, claimUnits }) => ({
        config,
        maxClaimable: ceilingUnits,
        signature: signature ?? '0x',
        totalClaimed: claimUnits,
      }))
      const details = channels.map(({ id, claimUnits }) => ({ channel: id, units: claimUnits }))
      await writeAction(sql, { purpose, kind: 'claim', target, data: claimData(rows), details })
      const data = settleData(operator, chain.token.address)
      await writeAction(sql, { purpose: `settle:${purpose}`, kind: 'settle', target, data })
    },
    async refund(sql, purpose, channel, units) {
      const data = refundData(channel.config, units)
      const details = { channel: channel.id, units }
      await writeAction(sql, { purpose, kind: 'refund', target, data, details })
    },
  }
}
