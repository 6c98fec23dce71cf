/**
 * Channels follow the chain. Each time a block becomes final, those that anything happened to are read anew at that very block,
 * by its hash, and the ledger is made to say what follows from it: so credit is a function of the final state and of what is
 * signed, and neither a lost event nor a repeated one can change it. After a reorganisation, at the start and every ten
 * minutes all of them are read. Whoever leaves is seen at any depth: until that is final, it can only be too early.
 */
import type { Hex } from '../../../core/base/hex.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, SECOND, type Millis } from '../../../core/base/time.ts'
import { MAX_CHANNEL_UNITS } from '../../../core/ledger/channel.ts'
import { readChannels, touchedChannels } from '../../../io/chain/channels-contract.ts'
import type { ChannelSighting, ChannelStore } from '../../../io/store/channel-records.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChannelChain, FinalBlock } from './channel-chain.ts'

const FULL_EVERY_MS: Millis = 10 * MINUTE
const RETRY_MS: Millis = 2 * SECOND
/** After a longer pause all channels are read instead of all events. */
const MAX_LOG_BLOCKS = 2_000n

export type ChannelSyncParts = {
  readonly chain: ChannelChain
  readonly book: ChannelBook
  readonly store: Pick<ChannelStore, 'reconcileChannels'>
  readonly logger: Logger
  readonly now: () => Millis
  /** After each look: there may be something to claim or to refund. */
  readonly looked: () => void
}

export class ChannelSync {
  readonly #parts: ChannelSyncParts
  readonly #stops: (() => void)[] = []
  /** To be read at the next look, whatever events say. */
  readonly #touched = new Set<Hex>()
  #last: FinalBlock | null = null
  #fullAt: Millis = 0
  /** Blocks that were final are gone: what the store knows of later ones counts no more. */
  #again = false
  #looking: Promise<void> | null = null
  #wanted = false
  #retry: NodeJS.Timeout | null = null
  #stopped = false

  constructor(parts: ChannelSyncParts) {
    this.#parts = parts
    parts.book.onNew((id) => {
      this.#touched.add(id)
      void this.look()
    })
  }

  /** Reads all channels once, and then follows. */
  async start(): Promise<void> {
    const { chain } = this.#parts
    this.#stops.push(
      chain.onHead(() => void this.look()),
      chain.onFinal(() => void this.look()),
      chain.onReorg(() => {
        this.#again = true
        this.#fullAt = 0
        void this.look()
      }),
    )
    await this.look()
  }

  /** Resolves after a look that began after this call. */
  look(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#wanted = true
    this.#looking ??= this.#lookWhileWanted().finally(() => (this.#looking = null))
    return this.#looking
  }

  async #lookWhileWanted(): Promise<void> {
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false
      try {
        await this.#look()
        this.#parts.looked()
      } catch (error) {
        this.#parts.logger.warn('channels not read; tried again', { error: reasonOf(error) })
        this.#retry ??= setTimeout(() => {
          this.#retry = null
          void this.look()
        }, RETRY_MS).unref()
      }
    }
  }

  async #look(): Promise<void> {
    const { chain, book, now } = this.#parts
    const block = chain.finalBlock()
    if (block === null) return
    const again = this.#again
    const touched = [...this.#touched]
    const full = this.#isFullDue(block)
    if (full) await book.load()
    const happened = full ? null : await this.#happened(block)
    const ids = book
      .records()
      .filter(
        ({ id, state }) =>
          happened === null || happened.has(id) || touched.includes(id) || state === 'closing',
      )
      .map(({ id }) => id)
    await this.#reconcile(ids, block, again)
    for (const id of touched) this.#touched.delete(id)
    if (full) this.#fullAt = now() + FULL_EVERY_MS
    if (again) this.#again = false
    this.#last = block
  }

  #isFullDue(block: FinalBlock): boolean {
    const last = this.#last
    return (
      this.#again ||
      last === null ||
      this.#parts.now() >= this.#fullAt ||
      block.number < last.number ||
      block.number - last.number > MAX_LOG_BLOCKS
    )
  }

  /** From the last final block that was looked at up to the head: what is not final yet is looked at again then. */
  #happened(block: FinalBlock): Promise<ReadonlySet<Hex>> {
    const { chain, book } = this.#parts
    const from = (this.#last?.number ?? block.number) + 1n
    return touchedChannels(chain.client, book.place.contract, from, 'latest')
  }

  async #reconcile(ids: readonly Hex[], block: FinalBlock, again: boolean): Promise<void> {
    const { book, store } = this.#parts
    const sightings = await this.#sight(ids, block)
    const accounts = new Map<string, ChannelSighting[]>()
    for (const sighting of sightings) {
      const account = book.record(sighting.id)?.account
      if (account !== undefined) accounts.set(account, [...(accounts.get(account) ?? []), sighting])
    }
    for (const [account, seen] of accounts)
      book.update(await store.reconcileChannels(book.place, account, seen, again))
  }

  async #sight(ids: readonly Hex[], block: FinalBlock): Promise<ChannelSighting[]> {
    const { chain, book } = this.#parts
    const { contract } = book.place
    const finals = await readChannels(chain.client, contract, ids, { blockHash: block.hash })
    const latest = await readChannels(chain.client, contract, ids, { blockTag: 'latest' })
    return ids.map((id, index) => {
      const { balanceUnits = 0n, claimedUnits = 0n, exitAskedAt = null } = finals[index] ?? {}
      const askedAt = latest[index]?.exitAskedAt ?? exitAskedAt
      const delayS = book.record(id)?.config.withdrawDelay ?? 0
      return {
        id,
        exitAt: askedAt === null ? null : (askedAt + delayS) * SECOND,
        final: {
          balanceUnits: balanceUnits < MAX_CHANNEL_UNITS ? balanceUnits : MAX_CHANNEL_UNITS,
          claimedUnits,
          block: block.number,
        },
      }
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const stop of this.#stops) stop()
    if (this.#retry) clearTimeout(this.#retry)
    await this.#looking
  }
}
