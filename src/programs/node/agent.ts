/**
 * The node agent: links to its gateways, takes their attempts, keeps their receipts, and leaves without
 * breaking an answer.
 *
 *   drain(): DRAIN ─► running answers end, at most `drainMs` ─► the rest is handed over ─► receipts handed in ─► links close
 */
import { once } from 'node:events'
import { formatUsd, type TokenPrice } from '../../core/base/money.ts'
import { reasonOf } from '../../core/base/refusal.ts'
import type { Heartbeat } from '../../core/protocol/link.ts'
import type { SignedPayout } from '../../core/protocol/payout.ts'
import type { Engine } from '../../io/engine/engine.ts'
import type { Identity } from '../../io/keys/identity.ts'
import type { IncomingAttempt } from '../../io/link/incoming-attempt.ts'
import type { LinkClient, LinkClientOptions } from '../../io/link/link-client.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { runAttempt } from './attempts.ts'
import type { Bookshelf } from './bookshelf.ts'
import type { IouDrawer } from './ious.ts'
import type { LeaseDoor } from './leases/lease-door.ts'
import type { ReceiptBook, SendBatch } from './receipt-book.ts'
import type { RegionLinks } from './region-links.ts'
import type { StandingOffer } from './standing-offer.ts'

export type AgentParts = {
  readonly identity: Identity
  readonly engine: Engine
  readonly offer: StandingOffer
  readonly leases: LeaseDoor
  /** Null: no payout address. */
  readonly payout: SignedPayout | null
  readonly ious: IouDrawer
  readonly shelf: Bookshelf
  /** Named by the provider. */
  readonly gateways: readonly string[]
  readonly region: RegionLinks
  readonly priceOf: (model: string) => TokenPrice | null
  readonly connect: (options: LinkClientOptions) => LinkClient
  readonly drainMs: number
  readonly settleMs?: number
  readonly now: () => number
  readonly random: () => number
  readonly logger: Logger
  /** One line for people. */
  readonly say: (line: string) => void
}

/** A gateway commits within a second; one that does not gets its receipts at the next start. */
const SETTLE_MS = 5_000
/** An engine frees a slot at once when told to stop. */
const HAND_OVER_MS = 1_000
const BOOK_RETRY_MS = 5_000

export class Agent {
  readonly #parts: AgentParts
  /** To the gateways that the provider named. */
  readonly #named: LinkClient[]
  /** To those that these told of, by their ids. */
  readonly #learnt = new Map<string, LinkClient>()
  /** Running attempts: what stops each, and when it is over. */
  readonly #running = new Map<AbortController, Promise<void>>()
  readonly #hurry = new AbortController()
  readonly #leave = new AbortController()
  /** Resolves when everything is closed; rejects when receipts could not be written to disk. */
  readonly left: Promise<void>

  /** Dials every gateway at once. */
  constructor(parts: AgentParts) {
    this.#parts = parts
    for (const model of parts.offer.models)
      parts.say(
        `offering ${model.model} at $${formatUsd(BigInt(model.inputNanoUsdPerMTok))} in and ` +
          `$${formatUsd(BigInt(model.outputNanoUsdPerMTok))} out per million tokens, ${model.slots} at a time`,
      )
    this.#named = parts.gateways.map((url) => this.#dial(url, null))
    void this.#offerLeases()
    this.left = this.#leaveWhenAsked()
  }

  /** Finishes or hands over what runs, hands in the receipts, and closes the links. Asking twice is fine. */
  drain(): void {
    this.#leave.abort()
  }

  /** The same without waiting for anyone: answers are handed over, receipts go to disk for the next start. */
  stop(): void {
    this.#hurry.abort()
    this.#leave.abort()
  }

  get #links(): readonly LinkClient[] {
    return [...this.#named, ...this.#learnt.values()]
  }

  /** Dials what is wanted now; what is not any more takes nothing new, and is left when its answers had their time. */
  #linkRegion(): void {
    if (this.#leave.signal.aborted) return
    const wanted = this.#parts.region.wanted()
    const named = new Set(this.#named.map(({ gateway }) => gateway))
    for (const [gateway, url] of wanted) {
      const byHand = named.has(gateway) || this.#parts.gateways.some((one) => isSame(one, url))
      if (!byHand && !this.#learnt.has(gateway)) this.#learnt.set(gateway, this.#dial(url, gateway))
    }
    for (const [gateway, link] of this.#learnt) {
      if (wanted.has(gateway) && !named.has(gateway)) continue
      this.#learnt.delete(gateway)
      link.drain()
      setTimeout(() => void link.close(), this.#parts.drainMs).unref()
    }
  }

  /** `expected`: who must be there; null: whoever the provider named. */
  #dial(url: string, expected: string | null): LinkClient {
    const { identity, offer, payout, ious, leases, connect, now, random, logger, say } = this.#parts
    /** The gateway said to be away already: it is dialled every few seconds, the provider hears it once. */
    let away = false
    let gateway: string | null = null
    let told = offer.signed
    const send: SendBatch = (batch) => link.gateway === gateway && link.sendReceipts(batch)
    const link = connect({
      url,
      identity,
      now,
      random,
      logger,
      offer: () => {
        told = offer.signed
        return told
      },
      payout: () => payout,
      load: () => this.#load(gateway),
      onPayoutNews: (news) => gateway !== null && ious.heard({ gateway, url }, news),
      onRegionNews: ({ gateways }) => {
        // Only whom the provider chose may name others.
        if (expected !== null || gateway === null) return
        this.#parts.region.heard(gateway, gateways)
        this.#linkRegion()
      },
      onAttempt: (attempt) => this.#begin(attempt, gateway),
      onLease: (command) => leases.command(gateway ?? '', command),
      onTunnel: (request) => leases.tunnel(gateway ?? '', request),
      onReceiptsAcknowledged: (ids) => this.#bookOf(gateway)?.acknowledged(ids),
      onLinked: (linked) => {
        if (expected !== null && linked.gateway !== expected) {
          say(`${url} is ${linked.gateway}, not ${expected} as another gateway said: left alone`)
          void link.close()
          return
        }
        away = false
        gateway = linked.gateway
        // The first heartbeat may have noticed a change after HELLO had left with the old offer.
        if (told !== offer.signed) link.sendOffer()
        say(`linked to gateway ${linked.gateway} at ${url}`)
        leases.linked(
          linked.gateway,
          (report) => link.gateway === linked.gateway && link.reportLease(report),
        )
        this.#handIn(linked.gateway, () => link.gateway === linked.gateway, send)
      },
      onUnlinked: (reason, retryInMs) => {
        this.#bookOf(gateway)?.unlinked(send)
        if (gateway !== null) leases.unlinked(gateway)
        gateway = null
        if (!away) say(`no link to ${url}: ${reason}; trying again, next in ${seconds(retryInMs)}`)
        away = true
      },
      onRefused: (code, message) => say(`${url} and this node cannot link (${code}): ${message}`),
    })
    return link
  }

  /** When the container engine has answered: a node does not wait for it. */
  async #offerLeases(): Promise<void> {
    const leases = await this.#parts.leases.offer()
    if (leases === null) return
    try {
      this.#parts.offer.lease(leases)
    } catch (error) {
      this.#parts.say(`no leases: ${reasonOf(error)}`)
      return
    }
    for (const link of this.#links) link.sendOffer()
  }

  #bookOf(gateway: string | null): ReceiptBook | null {
    return gateway === null ? null : this.#parts.shelf.opened(gateway)
  }

  /** Gives the gateway what it has not acknowledged, as soon as its book is open. */
  #handIn(gateway: string, stillLinked: () => boolean, send: SendBatch): void {
    this.#parts.shelf.of(gateway).then(
      (book) => {
        if (stillLinked()) book.linked(send)
      },
      (error: unknown) => {
        this.#parts.say(`cannot keep receipts for ${gateway}: ${reasonOf(error)}`)
        setTimeout(() => {
          if (stillLinked()) this.#handIn(gateway, stillLinked, send)
        }, BOOK_RETRY_MS).unref()
      },
    )
  }

  /** Free slots and queue of each model, in the offer's order, and what can be leased; of models nothing is free when nothing would be taken. */
  #load(gateway: string | null): Heartbeat {
    const { engine, offer, leases } = this.#parts
    if (offer.update(engine.models())) this.#reoffer()
    const closed = this.#leave.signal.aborted || (this.#bookOf(gateway)?.trouble ?? null) !== null
    const loads = offer.models.map(({ model }) => engine.load(model))
    return {
      free: loads.map(({ free }) => (closed ? 0 : free)),
      queued: loads.map(({ queued }) => queued),
      ...leases.beat(gateway),
    }
  }

  /** Before the heartbeat that noticed it is written: its numbers must fit the offer that the gateway has. */
  #reoffer(): void {
    const names = this.#parts.offer.models.map(({ model }) => model)
    this.#parts.say(`the engine changed: offering ${names.join(', ') || 'nothing'} now`)
    for (const link of this.#links) link.sendOffer()
  }

  #begin(attempt: IncomingAttempt, gateway: string | null): void {
    const controller = new AbortController()
    const abort = () => controller.abort()
    if (attempt.signal.aborted) abort()
    else attempt.signal.addEventListener('abort', abort, { once: true })
    const over = this.#run(attempt, gateway, controller.signal).finally(() => {
      attempt.signal.removeEventListener('abort', abort)
      this.#running.delete(controller)
    })
    this.#running.set(controller, over)
  }

  /** Never rejects. */
  async #run(attempt: IncomingAttempt, gateway: string | null, signal: AbortSignal): Promise<void> {
    const { engine, priceOf, now, logger } = this.#parts
    const book = await this.#bookFor(gateway)
    const why = this.#leave.signal.aborted
      ? 'the node drains'
      : typeof book === 'string'
        ? book
        : book.trouble
    if (why !== null || typeof book === 'string') {
      attempt.busy({ code: 'node_busy', message: why ?? '', param: null, retryable: true })
      return
    }
    const write = book.write.bind(book)
    await runAttempt(attempt, { engine, priceOf, write, signal, now, logger })
  }

  /** The open book, or why there is none: without one a receipt would have nowhere to go. */
  async #bookFor(gateway: string | null): Promise<ReceiptBook | string> {
    if (gateway === null) return 'the link is gone'
    try {
      return this.#parts.shelf.opened(gateway) ?? (await this.#parts.shelf.of(gateway))
    } catch (error) {
      return `receipts cannot be kept: ${reasonOf(error)}`
    }
  }

  async #leaveWhenAsked(): Promise<void> {
    await once(this.#leave.signal, 'abort')
    const { say, drainMs, shelf, leases, settleMs = SETTLE_MS } = this.#parts
    for (const link of this.#links) link.drain()
    leases.drain()
    if (this.#running.size > 0) {
      say(`draining: ${this.#running.size} running, at most ${seconds(drainMs)}`)
      await within(drainMs, this.#allOver(), this.#hurry.signal)
    }
    await this.#handOver()
    const settled = Promise.all(shelf.books.map((book) => book.settle(settleMs)))
    await within(settleMs, settled, this.#hurry.signal)
    await Promise.all(this.#links.map((link) => link.close()))
    await leases.close()
    await shelf.close()
    const left = shelf.unacknowledged
    if (left > 0) say(`${left} receipts are kept on disk and handed in at the next start`)
  }

  async #handOver(): Promise<void> {
    if (this.#running.size === 0) return
    this.#parts.say(`handing over ${this.#running.size} answers to other nodes`)
    for (const controller of this.#running.keys()) controller.abort()
    await within(HAND_OVER_MS, this.#allOver())
  }

  async #allOver(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values())
  }
}

/** Waits for it, but not longer than so many milliseconds, and not at all once `hurry` is aborted. */
async function within(limitMs: number, done: Promise<unknown>, hurry?: AbortSignal): Promise<void> {
  if (hurry?.aborted) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, limitMs)
    const stop = () => {
      clearTimeout(timer)
      hurry?.removeEventListener('abort', stop)
      resolve()
    }
    hurry?.addEventListener('abort', stop)
    done.then(stop, stop)
  })
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`

const isSame = (one: string, other: string): boolean => new URL(one).href === new URL(other).href
